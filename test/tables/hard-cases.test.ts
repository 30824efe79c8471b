/** Cases that a rule language must survive, each with its number: the same verdict as libwrap but where the difference is declared. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { decide } from "../../src/access/decide.ts";
import { MAX_LINE_BYTES } from "../../src/access/lines.ts";
import type { Request, Source, Verdict } from "../../src/access/types.ts";
import { readWhole } from "../../src/config/files.ts";
import { type Loaded, loadTables } from "../../src/config/load.ts";
import { loadText } from "../support/load-text.ts";
import { scratchFolder } from "../support/scratch.ts";

/** One question: tables, client, verdict with the line that decided, and what was said when they were read. */
interface Case {
  readonly allow?: string;
  readonly deny?: string;
  readonly files?: Readonly<Record<string, string | Source>>;
  readonly address?: string;
  readonly name?: string;
  readonly user?: string;
  readonly verdict: string;
  /** `FILE:LINE:COLUMN code`, in order. */
  readonly said?: readonly string[];
}

const ALL = "ALL: ALL\n";
const long = (bytes: number): string => `sshd: ${"10.0.0.1 ".repeat(bytes / 9)}192.0.2.1\n`;

const cases: [id: string, because: string, asked: Case][] = [
  [
    "A1",
    "a last line without newline is a rule in hosts.deny",
    { deny: "sshd: 192.0.2.1", verdict: "refuse hosts.deny 1", said: ["hosts.deny:1:16 missing-newline"] },
  ],
  [
    "A1",
    "which refuses nobody else",
    { deny: "sshd: 192.0.2.2", verdict: "allow", said: ["hosts.deny:1:16 missing-newline"] },
  ],
  [
    "A1",
    "and one in hosts.allow",
    {
      allow: "sshd: 192.0.2.1",
      deny: ALL,
      verdict: "allow hosts.allow 1",
      said: ["hosts.allow:1:16 missing-newline"],
    },
  ],
  ["A2", "a line of 3000 bytes is a line", { allow: long(3000), deny: ALL, verdict: "allow hosts.allow 1" }],
  [
    "A2",
    "a line beyond all bounds refuses in hosts.deny whoever comes to it",
    {
      deny: `ftpd: ALL\n${long(MAX_LINE_BYTES + 100)}`,
      verdict: "refuse",
      said: [`hosts.deny:2:${MAX_LINE_BYTES + 1} line-too-long`],
    },
  ],
  [
    "A2",
    "and not those whom a rule above it settles",
    {
      allow: "sshd: ALL\n",
      deny: long(MAX_LINE_BYTES + 100),
      verdict: "allow hosts.allow 1",
      said: [`hosts.deny:1:${MAX_LINE_BYTES + 1} line-too-long`],
    },
  ],
  [
    "A3",
    "lines are joined where a backslash ends one, and counted where they end",
    { allow: "sshd: ALL \\\n EXCEPT \\\n 192.0.2.2\n", deny: ALL, verdict: "allow hosts.allow 3" },
  ],
  [
    "A3",
    "before comments are known: this one swallows the rule behind it",
    { allow: "# office \\\nsshd: ALL\n", deny: ALL, verdict: "refuse hosts.deny 1" },
  ],
  [
    "A3",
    "and a comment inside a joined line is text of the rule",
    { allow: "sshd: 10. \\\n# 192.0.2.1\n", deny: ALL, verdict: "allow hosts.allow 2" },
  ],
  [
    "A4",
    "a line without colon is skipped",
    { deny: "sshd ALL\n", verdict: "allow", said: ["hosts.deny:1:1 missing-colon"] },
  ],
  [
    "A5",
    "an unknown option refuses whom the rule matches, and is known when the table is read",
    {
      allow: "sshd: ALL: alow\n",
      verdict: "refuse hosts.allow 1 unknown-option",
      said: ["hosts.allow:1:12 unknown-option"],
    },
  ],
  [
    "A5",
    "and nobody else",
    { allow: "ftpd: ALL: alow\n", verdict: "allow", said: ["hosts.allow:1:12 unknown-option"] },
  ],
  [
    "A6",
    "allow that is not last refuses",
    {
      allow: "sshd: ALL: allow: severity info\n",
      verdict: "refuse hosts.allow 1 option-not-last",
      said: ["hosts.allow:1:12 option-not-last"],
    },
  ],
  [
    "A6",
    "deny that is not last refuses",
    {
      deny: "sshd: ALL: deny: nice\n",
      verdict: "refuse hosts.deny 1 option-not-last",
      said: ["hosts.deny:1:12 option-not-last"],
    },
  ],
  ["A7", "a net with host bits matches nothing", { deny: "sshd: 192.0.2.1/24\n", verdict: "allow" }],
  ["A7", "nor does a length of 33", { deny: "sshd: 192.0.2.0/33\n", verdict: "allow" }],
  [
    "A7",
    "a mask with holes is matched bit by bit",
    { deny: "sshd: 0.0.2.0/0.0.255.0\n", verdict: "refuse hosts.deny 1" },
  ],
  [
    "A8",
    "a mapped client is an IPv4 client",
    { deny: "sshd: 10.0.0.0/8\n", address: "::ffff:10.1.2.3", verdict: "refuse hosts.deny 1" },
  ],
  [
    "A9",
    "an IPv4 client is no IPv6 client",
    { deny: "sshd: [::ffff:10.0.0.0]/104\n", address: "10.1.2.3", verdict: "allow" },
  ],
  [
    "A10",
    "IPv6 without brackets is cut at its colon, and the rest is an option",
    {
      allow: "sshd: 2001:db8::1\n",
      deny: ALL,
      address: "2001:db8::1",
      verdict: "refuse hosts.deny 1",
      said: [
        "hosts.allow:1:12 unknown-option",
        "hosts.allow:1:16 missing-option-name",
        "hosts.allow:1:17 unknown-option",
      ],
    },
  ],
  ...["[2001:db8::1]", "[2001:DB8:0:0::1]", "[2001:0db8:0000:0000:0000:0000:0000:0001]", "[2001:db8::]/33"].map(
    (word): [string, string, Case] => [
      "A10",
      `in brackets any spelling is one address: ${word}`,
      { allow: `sshd: ${word}\n`, deny: ALL, address: "2001:db8::1", verdict: "allow hosts.allow 1" },
    ],
  ),
  [
    "A10",
    "a zone of the client counts for nothing",
    { allow: "sshd: [fe80::1]\n", deny: ALL, address: "fe80::1%lo", verdict: "allow hosts.allow 1" },
  ],
  [
    "A10",
    "in a file an address without brackets is compared as text",
    {
      allow: "sshd: /l\n",
      deny: ALL,
      files: { "/l": "2001:db8::1\n" },
      address: "2001:db8::1",
      verdict: "allow hosts.allow 1",
    },
  ],
  [
    "A10",
    "and a prefix without brackets matches nothing there",
    {
      allow: "sshd: /l\n",
      deny: ALL,
      files: { "/l": "2001:db8::/32\n" },
      address: "2001:db8::1",
      verdict: "refuse hosts.deny 1",
    },
  ],
  ["A11", "an octet with a leading zero is text", { deny: "sshd: 192.0.2.01\n", verdict: "allow" }],
  [
    "A11",
    "and octal in a net, as inet_addr(3) reads it",
    { deny: "sshd: 0300.0.2.0/24\n", verdict: "refuse hosts.deny 1" },
  ],
  [
    "A12",
    "a byte-order mark is skipped",
    {
      allow: "\xef\xbb\xbfsshd: ALL\n",
      deny: ALL,
      verdict: "allow hosts.allow 1",
      said: ["hosts.allow:1:1 byte-order-mark"],
    },
  ],
  [
    "A12",
    "lines may end in CR and LF, words may be parted by tabs",
    { allow: "# x\r\n\r\nsshd,ftpd:\t10.\t192.0.2.1\r\n", deny: ALL, verdict: "allow hosts.allow 3" },
  ],
  [
    "A12",
    "a NUL byte swallows the rest of its line, and the next one is joined",
    {
      deny: "sshd: 192.0.2.1\0, ALL\nALL: x\n",
      verdict: "allow",
      said: ["hosts.deny:1 unknown-option", "hosts.deny:1:16 nul-byte"],
    },
  ],
  [
    "A12",
    "bytes of Latin-1 are bytes",
    { deny: "sshd: h\xf6st 192.0.2.1\n", verdict: "refuse hosts.deny 1" },
  ],
  [
    "A13",
    "EXCEPT leans to the right",
    {
      allow: "ALL EXCEPT ftpd EXCEPT sshd: ALL EXCEPT 192. EXCEPT 192.0.2.1\n",
      deny: ALL,
      verdict: "allow hosts.allow 1",
    },
  ],
  [
    "A13",
    "on both sides",
    {
      allow: "ALL EXCEPT ftpd EXCEPT sshd: ALL EXCEPT 192. EXCEPT 192.0.2.1\n",
      deny: ALL,
      address: "192.0.2.2",
      verdict: "refuse hosts.deny 1",
    },
  ],
  [
    "A14",
    "a name that looks like an address is matched by no pattern for addresses",
    { allow: "sshd: 10.0.0.1 10. 10.0.0.0/8\n", deny: ALL, name: "10.0.0.1", verdict: "refuse hosts.deny 1" },
  ],
  [
    "A15",
    "UNKNOWN matches while no name is to be had",
    { deny: "sshd: UNKNOWN\n", name: "unknown", verdict: "refuse hosts.deny 1" },
  ],
  ...["KNOWN", "LOCAL", "PARANOID"].map((word): [string, string, Case] => [
    "A15",
    `${word} does not`,
    { deny: `sshd: ${word}\n`, name: "unknown", verdict: "allow" },
  ]),
  [
    "A15",
    "PARANOID matches a name that does not lead back",
    { deny: "sshd: PARANOID\n", name: "paranoid", verdict: "refuse hosts.deny 1" },
  ],
  [
    "A16",
    "a file that is missing matches nothing",
    { deny: "sshd: /l\n", verdict: "allow", said: ["hosts.deny:1:7 list-missing"] },
  ],
  [
    "A16",
    "a table that is missing is empty",
    { files: { "hosts.deny": { kind: "missing" } }, verdict: "allow" },
  ],
  [
    "A16",
    "a table that cannot be read refuses as hosts.deny",
    {
      files: { "hosts.deny": { kind: "unreadable", reason: "Permission denied" } },
      verdict: "refuse",
      said: ["hosts.deny:0 cannot-open"],
    },
  ],
  [
    "A16",
    "and goes on to hosts.deny as hosts.allow",
    {
      files: { "hosts.allow": { kind: "unreadable", reason: "Permission denied" } },
      deny: "sshd: 10.\n",
      verdict: "allow",
      said: ["hosts.allow:0 cannot-open"],
    },
  ],
  [
    "A16",
    "a file that includes itself is cut there, and its other words count",
    {
      deny: "sshd: /l\n",
      files: { "/l": "/l 192.0.2.1\n" },
      verdict: "refuse hosts.deny 1",
      said: ["/l:1:1 list-includes-itself"],
    },
  ],
  [
    "A17",
    "what comes from outside is harmless to a shell",
    {
      allow: "sshd: ALL: twist /bin/echo %u %n\n",
      user: "$(rm -rf /);`x`'\"\n",
      name: "a&b|c<d>",
      verdict: "twist hosts.allow 1: /bin/echo __rm_-rf_/___x____ a_b_c_d_",
    },
  ],
  [
    "A19",
    "names are compared in any case",
    { deny: "sshd: WWW.Example.COM\n", name: "www.eXample.com", verdict: "refuse hosts.deny 1" },
  ],
  [
    "A19",
    "a final dot makes a pattern of the start of a name",
    { deny: "sshd: www.example.com.\n", name: "www.example.com", verdict: "allow" },
  ],
  [
    "A19",
    "a name of other letters is compared in its form for DNS",
    { deny: "sshd: .xn--bcher-kva.example\n", name: "www.xn--bcher-kva.example", verdict: "refuse hosts.deny 1" },
  ],
  [
    "A19",
    "a name of 255 bytes is a name",
    {
      deny: `sshd: ${"a.".repeat(123)}example.x\n`,
      name: `${"a.".repeat(123)}example.x`,
      verdict: "refuse hosts.deny 1",
    },
  ],
];
for (const [id, because, asked] of cases) {
  test(`${id}: ${because}`, () => {
    const { allow = "", deny = "", files = {}, said = [] } = asked;
    const loaded = loadText(allow, deny, files);
    assert.deepEqual([verdictOf(loaded, asked), remarksOf(loaded)], [asked.verdict, said]);
  });
}

test("A16: a FIFO, a device, a directory and a million lines in place of a file", { timeout: 20_000 }, (t) => {
  const folder = scratchFolder(t);
  const [fifo, directory, million] = ["fifo", "directory", "million"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  execFileSync("mkfifo", [fifo]);
  mkdirSync(directory);
  const address = (index: number): string => `192.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
  writeFileSync(million, Array.from({ length: 1_000_000 }, (_, index) => `${address(index)}\n`).join(""));
  const deny = join(folder, "hosts.deny");
  const question = (address: string): Case => ({ address, verdict: "" });
  const load = (list: string): Loaded => {
    writeFileSync(deny, `sshd: ${list}\n`);
    const read = (path: string, maxBytes: number): Source => readWhole(path, maxBytes).source;
    return loadTables({ allow: join(folder, "hosts.allow"), deny, noMatch: "allow", read });
  };
  for (const list of [fifo, "/dev/zero", directory]) {
    assert.equal(verdictOf(load(list), question("192.0.0.1")), "allow");
    assert.deepEqual(remarksOf(load(list)), [`${deny}:1:7 list-unreadable`]);
  }
  const large = load(million);
  assert.equal(verdictOf(large, question(address(999_999))), `refuse ${deny} 1`);
  assert.equal(verdictOf(large, question(address(1_000_000))), "allow");
});

function verdictOf({ tables }: Loaded, { address = "192.0.2.1", name = "host.test", user = "bob" }: Case): string {
  const server = { address: "198.51.100.1", name: "unknown", port: 22 };
  const request: Request = { daemon: "sshd", client: { address, name }, server, user };
  const step = decide(tables, request);
  return step.kind === "need" ? assert.fail(`it asks for ${step.fact.kind}`) : inWords(step);
}

function inWords(verdict: Verdict): string {
  const { kind, rule, reason, diagnostics } = verdict;
  const place = rule === undefined ? "" : ` ${rule.file} ${rule.line}`;
  const command = kind === "twist" ? `: ${verdict.command.line}` : "";
  const why = reason === "error" && rule !== undefined ? ` ${diagnostics.at(-1)?.code}` : "";
  return `${kind}${place}${command}${why}`;
}

function remarksOf({ diagnostics }: Loaded): string[] {
  return diagnostics.map(
    ({ file, line, column, code }) => `${file}:${line}${column === undefined ? "" : `:${column}`} ${code}`,
  );
}
