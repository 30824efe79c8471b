/** What a pair of tables depends on, and what is said about it. */
import assert from "node:assert/strict";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { decide } from "../../src/access/decide.ts";
import type { Request } from "../../src/access/types.ts";
import { isSameState, look, readWhole } from "../../src/config/files.ts";
import { MAX_FILE_BYTES, MAX_NESTING, loadTables } from "../../src/config/load.ts";
import { findWriters } from "../../src/config/writers.ts";
import { loadText } from "../support/load-text.ts";
import { scratchFolder } from "../support/scratch.ts";

const request: Request = {
  daemon: "sshd",
  client: { address: "192.0.2.1", name: "host.test" },
  server: { address: "198.51.100.1", port: 22 },
};

test("the rules of both tables are counted, comments and broken lines are not", () => {
  const { allowRules, denyRules, paths } = loadText("#\nsshd: ALL\nno colon\n", "ALL: ALL\n\nALL: ALL\n");
  assert.deepEqual([allowRules, denyRules, paths], [1, 2, ["hosts.allow", "hosts.deny"]]);
});

test("paths hold every file that the tables depend on, the missing ones too", () => {
  const files = { "/one": "10.0.0.1 /two\n", "/two": "/missing @group" };
  const { paths } = loadText(
    "sshd: ALL EXCEPT /one\nALL@/server: ALL: user root\n",
    "ALL: bob@/three\n",
    files,
  );
  assert.deepEqual([...paths].sort(), [
    "/etc/group",
    "/etc/netgroup",
    "/etc/passwd",
    "/missing",
    "/one",
    "/server",
    "/three",
    "/two",
    "hosts.allow",
    "hosts.deny",
  ]);
});

test("a file is read once, however often it is named, and never beyond its bound", () => {
  const reads: string[] = [];
  loadTables({
    allow: "a",
    deny: "d",
    noMatch: "allow",
    read: (path, maxBytes) => {
      assert.equal(maxBytes, MAX_FILE_BYTES);
      reads.push(path);
      const text =
        path === "a" ? "x: /l\ny: /l @g\nz: @g: user a: group b\n" : path === "d" ? "x: /l /m\n" : "/n";
      return { kind: "text", bytes: Buffer.from(path.length > 2 || path === "/n" ? "" : text) };
    },
  });
  assert.deepEqual(reads.sort(), ["/etc/group", "/etc/netgroup", "/etc/passwd", "/l", "/m", "/n", "a", "d"]);
});

const remarks: [files: Record<string, string>, said: string[], because: string][] = [
  [{ "/a": "10.0.0.1" }, [], "a list is there"],
  [{}, ["hosts.allow:2 warning list-missing"], "it is not"],
  [{ "/a": "x\n/b\n" }, ["/a:2 warning list-missing"], "nor is one inside it"],
  [{ "/a": "x\n\n/a y" }, ["/a:3 error list-includes-itself"], "it includes itself"],
  [{ "/a": "/b", "/b": "/c", "/c": "/a" }, ["/c:1 error list-includes-itself"], "through others"],
];
for (const [files, said, because] of remarks) {
  test(`sshd: /a with ${JSON.stringify(files)}: ${because}`, () => {
    const { diagnostics } = loadText("#\nsshd: /a\n", "", files);
    assert.deepEqual(
      diagnostics.map(({ file, line, severity, code }) => `${file}:${line} ${severity} ${code}`),
      said,
    );
  });
}

test("a list that cannot be read is a warning and matches nothing", () => {
  const { tables, diagnostics } = loadText("sshd: /a\n", "ALL: ALL\n", {
    "/a": { kind: "unreadable", reason: "FIFO" },
  });
  assert.deepEqual(
    diagnostics.map(({ code, message }) => [code, message]),
    [["list-unreadable", 'cannot open "/a": FIFO; it matches nothing']],
  );
  assert.equal(decide(tables, request).kind, "refuse");
});

test("the path of a list may be any bytes, and so may that of a list inside it", (t) => {
  const folder = scratchFolder(t);
  const path = (bytes: string): Buffer => Buffer.from(join(folder, bytes), "latin1");
  mkdirSync(path("in\xff"));
  symlinkSync(path("in\xff/\xe4"), path("link\xfe"));
  writeFileSync(path("in\xff/\xe4"), path("inner\xe5"));
  writeFileSync(path("inner\xe5"), "192.0.2.1 /no/such\xe6\n", "latin1");
  writeFileSync(path("deny"), Buffer.concat([Buffer.from("ALL: "), path("link\xfe"), Buffer.from("\n")]));
  const { tables, paths, diagnostics } = loadTables({
    allow: join(folder, "allow"),
    deny: join(folder, "deny"),
    noMatch: "allow",
    read: (name, maxBytes) => readWhole(name, maxBytes).source,
  });
  assert.equal(decide(tables, request).kind, "refuse");
  assert.deepEqual(
    diagnostics.map(({ file, message }) => `${file.replace(folder, "")}: ${message}`),
    ['/inner\ufffd: cannot open "/no/such\ufffd": no such file; it matches nothing'],
  );
  const states = paths.map((name) => look(name) !== "missing");
  assert.deepEqual(states, [false, true, true, true, false], "all of them can be watched");
  assert.deepEqual(findWriters(paths), []);
});

test("why a file cannot be opened is said in the words of libwrap's log", (t) => {
  const folder = scratchFolder(t);
  writeFileSync(join(folder, "file"), "");
  symlinkSync(join(folder, "circle"), join(folder, "circle"));
  for (const [name, reason] of [
    ["file/x", "Not a directory"],
    ["n".repeat(300), "File name too long"],
    ["circle", "Too many levels of symbolic links"],
  ] as const) {
    const { source, state } = readWhole(join(folder, name), 1);
    assert.deepEqual(source, { kind: "unreadable", reason });
    assert.ok(isSameState(state, look(join(folder, name))), "and it is not read again while nothing changes");
  }
});

test("difference 8: a circle of lists is cut where it begins again; the rest of each list works", () => {
  const files = { "/a": "10.0.0.1 /b 192.0.2.2", "/b": "/a 192.0.2.1" };
  const { tables } = loadText("sshd: /a\nftpd: /b\n", "ALL: ALL\n", files);
  const allows = (daemon: string, address: string): boolean =>
    decide(tables, { ...request, daemon, client: { address, name: "unknown" } }).kind === "allow";
  assert.deepEqual(
    [allows("sshd", "192.0.2.1"), allows("sshd", "192.0.2.2"), allows("sshd", "192.0.2.3")],
    [true, true, false],
  );
  assert.deepEqual([allows("ftpd", "192.0.2.1"), allows("ftpd", "192.0.2.2")], [true, false]);
});

test("so many lists may stand inside each other and no more, whichever is named first", () => {
  const files: Record<string, string> = {};
  for (let depth = 0; depth < MAX_NESTING + 4; depth++) files[`/${depth}`] = `/${depth + 1}`;
  for (const [first, isWhole] of [
    [5, true],
    [4, true],
    [3, false],
  ] as const) {
    const last = `/${MAX_NESTING + 3}`;
    for (const rules of [
      `sshd: /${first}\n`,
      `ftpd: ${last}\nsshd: /${first}\n`,
      `ftpd: /10\nsshd: /${first}\n`,
    ]) {
      const { tables, diagnostics } = loadText(rules, "ALL: ALL\n", { ...files, [last]: "192.0.2.1" });
      const tooDeep = diagnostics.filter(({ code }) => code === "list-too-deep");
      assert.equal(tooDeep.length, isWhole ? 0 : 1, `${rules} ${JSON.stringify(tooDeep)}`);
      assert.equal(decide(tables, request).kind, isWhole ? "allow" : "refuse", rules);
    }
  }
});

test("a chain of a thousand lists is read no deeper than is used", () => {
  const files: Record<string, string> = {};
  for (let depth = 0; depth < 1000; depth++) files[`/${depth}`] = `/${depth + 1}`;
  files["/1000"] = "192.0.2.1";
  const { paths, diagnostics } = loadText("sshd: /0\n", "", files);
  assert.equal(paths.length, MAX_NESTING + 2);
  assert.deepEqual(
    diagnostics.map(({ file, code }) => [file, code]),
    [[`/${MAX_NESTING - 1}`, "list-too-deep"]],
  );
  const { tables } = loadText("ftpd: /0\nsshd: /990\n", "ALL: ALL\n", files);
  assert.equal(decide(tables, request).kind, "allow");
});

test("broken options are found when the table is read, with the place of their rule", () => {
  const { diagnostics } = loadText(
    "sshd: ALL: bogus\n",
    "#\nALL: ALL: severity x: umask 9\nALL: ALL: severity x: umask 9\n",
  );
  assert.deepEqual(
    diagnostics.map(({ file, line, code, message }) => [file, line, code, message]),
    [
      ["hosts.allow", 1, "unknown-option", 'bad option name: "bogus"'],
      ["hosts.deny", 2, "bad-option-value", 'bad syslog facility or severity: "x"'],
      ["hosts.deny", 2, "bad-option-value", 'bad umask value: "9"'],
      ["hosts.deny", 3, "bad-option-value", 'bad syslog facility or severity: "x"'],
      ["hosts.deny", 3, "bad-option-value", 'bad umask value: "9"'],
    ],
  );
});

test("users and groups are those of passwd(5) and group(5)", () => {
  const files = { "/etc/passwd": "root:x:0:0\nbob:x:1000\n:x\n", "/etc/group": "staff:x:50:\n" };
  const { tables, diagnostics } = loadText(
    "sshd: ALL: user bob.staff\n",
    "ALL: ALL: user staff\nALL: ALL: group bob\n",
    files,
  );
  assert.deepEqual(
    diagnostics.map(({ message }) => message),
    ['unknown user: "staff"', 'unknown group: "bob"'],
  );
  assert.equal(decide(tables, request).kind, "allow");
});

test("a line without colon is reported with the start of its text", () => {
  const { diagnostics } = loadText(`nothing here\n${"y".repeat(100)}\n`, "");
  assert.deepEqual(
    diagnostics.map(({ line, severity, code, message }) => [line, severity, code, message]),
    [
      [1, "warning", "missing-colon", 'missing ":" separator in "nothing here"; the line is skipped'],
      [2, "warning", "missing-colon", `missing ":" separator in "${"y".repeat(60)}..."; the line is skipped`],
    ],
  );
});

test("remarks are bounded, and an error is not lost behind warnings", () => {
  const { diagnostics } = loadText("x\n".repeat(5000), "x\n".repeat(5000) + "a: b: bogus\n".repeat(5000));
  const count = (severity: string): number =>
    diagnostics.filter((diagnostic) => diagnostic.severity === severity).length;
  assert.deepEqual([count("warning"), count("error")], [1000, 1000]);
});

test("a rule of an index may be followed by one that no index holds, and the other way round", () => {
  const list = "10.0.0.* /inner 192.0.2.0/255.0.255.0 host.*";
  const { tables } = loadText("sshd: /list EXCEPT 192.0.2.9\n", "ALL: ALL\n", {
    "/list": list,
    "/inner": "198.51.100.7",
  });
  const allows = (address: string, name = "unknown"): boolean =>
    decide(tables, { ...request, client: { address, name } }).kind === "allow";
  for (const address of ["10.0.0.4", "198.51.100.7", "192.7.2.0"]) assert.ok(allows(address), address);
  assert.ok(allows("203.0.113.1", "host.example"));
  for (const address of ["10.0.1.4", "198.51.100.8", "192.0.2.9", "203.0.113.1"])
    assert.ok(!allows(address), address);
});

test("a remark names the column, where the rule is one physical line", () => {
  const { diagnostics } = loadText(
    "sshd: ALL : severity info : bogus :  umask 9\nsshd: ALL: \\\n bogus\nsshd: 10. /none\nsshd: \\\n /nil\nsshd: /list\nx: ab\0c\ny\n",
    "",
    { "/list": "10.0.0.1\n a /gone" },
  );
  assert.deepEqual(
    diagnostics.map(({ file, line, column, code }) => [file, line, column, code]),
    [
      ["hosts.allow", 1, 29, "unknown-option"],
      ["hosts.allow", 1, 38, "bad-option-value"],
      ["hosts.allow", 3, undefined, "unknown-option"],
      ["hosts.allow", 4, 11, "list-missing"],
      ["hosts.allow", 6, undefined, "list-missing"],
      ["/list", 2, 4, "list-missing"],
      ["hosts.allow", 8, 6, "nul-byte"],
    ],
  );
});
