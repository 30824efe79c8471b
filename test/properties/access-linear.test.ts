/** Hostile tables take linear time: a step that looked back over what it has read would take hours for one of these. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/access/decide.ts";
import { printTable } from "../../src/access/print.ts";
import { nearest } from "../../src/config/nearest.ts";
import { loadText } from "../support/load-text.ts";

const bytes = 1 << 20;
const withinMs = 60_000;

const repeated: [unit: string, because: string][] = [
  ["\0", "NUL bytes"],
  ["\0\n", "NUL bytes in lines"],
  ["a\0\n", "lines glued for ever"],
  ["\n", "newlines"],
  ["\\\n", "joined lines of nothing"],
  ["x\\\n", "joined lines"],
  [" ", "blanks"],
  [" \n", "blank lines"],
  [":", "colons"],
  ["[", "brackets that open"],
  ["]", "brackets that close"],
  ["a: b\n", "rules without end"],
  ["a: b:\n", "empty options"],
  ["a: b: c\n", "unknown options"],
  ["no colon\n", "lines without colon"],
  ["\xff", "bytes that are no UTF-8"],
  ["\r", "CR without LF"],
  ["a:*\n", "wildcards"],
  ["a:/x\n", "the same file over and over"],
];
for (const [unit, because] of repeated) {
  test(`1 MiB of ${JSON.stringify(unit)}: ${because}`, { timeout: withinMs }, () => {
    const text = unit.repeat(bytes / unit.length);
    survives(text, text, text);
  });
}

const inOneLine: [start: string, unit: string, because: string][] = [
  ["sshd: ", "ALL EXCEPT ", "deep exceptions"],
  ["", "EXCEPT ", "nothing but exceptions, as daemons"],
  ["sshd: ", "a@", "users"],
  ["sshd: ", "*a", "one wildcard pattern"],
  ["sshd: ", "* ", "many"],
  ["sshd: ", "1.", "a quad of many parts"],
  ["sshd: [", "0:", "an IPv6 address of many groups"],
  ["sshd: 1.2.3.4/", "9", "a long mask"],
  ["sshd: ALL:", " ", "an option of blanks"],
  ["sshd: ALL:", ":", "many empty options"],
  ["sshd: ALL: spawn ", "%a", "a long expansion"],
  ["sshd: ALL: spawn ", "\\:", "escaped colons"],
  ["sshd: ALL: umask ", "7", "a long number"],
  ["sshd: ALL: severity ", ".", "dots"],
  ["sshd: ALL: setenv ", "a ", "words"],
];
for (const [start, unit, because] of inOneLine) {
  test(
    `a line of ${JSON.stringify(start)} and ${JSON.stringify(unit)} for ever: ${because}`,
    { timeout: withinMs },
    () => {
      const text = `${start + unit.repeat(300_000 / unit.length)}\n`;
      survives(text, "", text);
      survives("", text, "");
    },
  );
}

const many = (stem: string): string =>
  Array.from({ length: 20_000 }, (_, index) => `${stem}${index} `).join("");
const critical: [text: string, because: string][] = [
  [`sshd: ALL: umask ${"7".repeat(300_000)}\n`, "digits that could begin an IPv6 address"],
  [`${"d".repeat(300_000)}: ALL\n`, "letters that could"],
  [`sshd: ::1 ${"z".repeat(300_000)}\n`, "a long word beside a bare address"],
  [`${many("a")}: ${many("b")}\n`.repeat(2), "long lists on both sides, twice"],
  [`sshd: ${"a@".repeat(150_000)}a\n`.repeat(2), "a user of a user of a user, twice"],
  [`sshd: .a\nsshd: ${"a.".repeat(150_000)}b\n`, "a name of many labels under a domain"],
  [`sshd: ALL: ${"nice: ".repeat(50_000)}nice\n`, "options for a command that never comes"],
  [`sshd: ALL: ${"x".repeat(300_000)}\n`, "a long name of an option"],
  [`sshd: 0${".0".repeat(150_000)}/8\n`, "a network of many parts"],
  [`sshd: 1.2.3.4/${"0".repeat(300_000)}1\n`, "a mask of many zeros"],
  [`sshd: ${"\xc3\xbc".repeat(150_000)}.\xff\n`, "letters that no name has"],
  [`sshd: ${"\xc3\xbc.".repeat(100_000)}\n`, "labels that have to be written as A-labels"],
  [`${"[".repeat(300_000)}: ALL\n`, "brackets"],
];
for (const [text, because] of critical) {
  test(`read critically: ${because}`, { timeout: withinMs }, () => {
    const daemons = { names: ["sshd"], ports: [22], nearest: (name: string) => nearest(name, ["sshd"]) };
    const before = process.cpuUsage();
    const { diagnostics } = loadText(text, text, { "/list": text }, "allow", { noMatch: "allow", daemons });
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < withinMs * 100, `${(user + system) / 1000} ms`);
    assert.ok(diagnostics.length <= 3000);
  });
}

const repeatedFiles: [table: string, files: Record<string, string>, because: string][] = [
  ["sshd: /f\n", { "/f": "/f ".repeat(50_000) }, "a file that names itself for ever"],
  [`sshd: ${"/f ".repeat(50_000)}\n`, { "/f": "a.* ".repeat(50_000) }, "the same file for ever"],
  ["sshd: u@/f\n".repeat(20_000), { "/f": "a.* ".repeat(50_000) }, "the same file in many rules"],
  [`sshd@${"/f sshd@".repeat(20_000)}/f: ALL\n`, { "/f": "a.* ".repeat(50_000) }, "for the server"],
  [
    "sshd: /0\n",
    Object.fromEntries(
      Array.from({ length: 15 }, (_, index) => [`/${index}`, `/${index + 1} `.repeat(1000)]),
    ),
    "files inside files, a thousand times each",
  ],
];
for (const [text, files, because] of repeatedFiles) {
  test(`one decision asks each file once: ${because}`, { timeout: withinMs }, () => {
    const { tables } = loadText(text, "", files);
    const before = process.cpuUsage();
    for (const address of ["192.0.2.1", "2001:db8::1"]) {
      const client = { address, name: "x.test" };
      assert.equal(decide(tables, { ...request, client }).kind, "allow");
    }
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 2_000_000, `${(user + system) / 1000} ms`);
  });
}

test("a line of 48 MiB is an error, and hosts.deny refuses at it", { timeout: withinMs }, () => {
  const { tables, diagnostics } = loadText("", "x".repeat(48 << 20));
  assert.deepEqual(
    diagnostics.map(({ code }) => code),
    ["line-too-long"],
  );
  assert.equal(decide(tables, request).kind, "refuse");
});

const request = {
  daemon: "sshd",
  client: { address: "192.0.2.1", name: "a.test" },
  server: { address: "198.51.100.1", name: "b.test", port: 22 },
  user: "bob",
  commands: ["succeeded"],
} as const;

function survives(allow: string, deny: string, list: string): void {
  const { tables } = loadText(`${allow}sshd: /list\n`, deny, { "/list": list });
  for (const address of ["192.0.2.1", "2001:db8::1", "unknown"]) {
    assert.notEqual(decide(tables, { ...request, client: { address, name: "a.test" } }).kind, "need");
  }
  assert.equal(typeof printTable(tables.allow), "string");
}
