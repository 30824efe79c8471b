/** What compiling a table leaves: groups, places, and the rules that are asked one by one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { compileTable } from "../../src/access/compile.ts";
import { compileList } from "../../src/access/compile-list.ts";
import { matchedAt, NO_GROUP, ruleAt, type TableData, textAt } from "../../src/access/table-data.ts";

interface Heard {
  data: TableData;
  codes: string[];
  files: [path: string, line: number, column: number | undefined][];
  options: [text: string, line: number, column: number | undefined][];
  netgroups: number;
}

const tables: [text: string, groups: string[], scanned: number[], because: string][] = [
  ["sshd: 10.\nsshd: a.test\n", ["sshd"], [], "rules with the same daemons are one group"],
  ["sshd: 10.\nALL: 10.\nsshd: 11.\n", ["sshd", "ALL"], [], "with others another"],
  ["sshd: 10.\nsshd : 10.\n", ["sshd", "sshd "], [], "by their text"],
  ["sshd@10.0.0.1: ALL\nsshd: ALL\n", ["sshd"], [0], "those that ask about the server are none"],
  ["sshd: ALL EXCEPT 10.\nsshd: 10.\n", ["sshd"], [0], "a list with EXCEPT is asked on its own"],
  ["sshd: 10. except\n", ["sshd"], [0], "in any case"],
  ["sshd: 10. EXCEPTS EXCEP\n", ["sshd"], [], "but the word alone"],
  ["sshd: 10. bob@11.\n", ["sshd"], [0], "so is one with users"],
  [
    "sshd: /list\nsshd: @group\nsshd: *x\nsshd: LOCAL\n",
    ["sshd"],
    [0, 1, 2, 3],
    "files, netgroups, wildcards, words",
  ],
  ["sshd: ,10.,\t11. \r\n", ["sshd"], [], "blanks are no words"],
  ["sshd:\n:10.\n", ["sshd", ""], [], "empty lists are held"],
  ["#x: y\n \t\r\nno colon\n", [], [], "what is no rule leaves nothing"],
  ["[a:b]: [c:d] : allow\n", ["[a:b]"], [], "colons in brackets part nothing"],
  ["\0x: y\nsshd: 10.\n", ["sshd"], [], "a NUL byte at the very start swallows its line"],
];
for (const [text, groups, scanned, because] of tables) {
  test(`${JSON.stringify(text)}: ${because}`, () => {
    const { data } = compile(text);
    assert.deepEqual([data.groups, [...data.scanned]], [groups, scanned]);
  });
}

test("groups are bounded; rules of further daemon lists are asked whole", () => {
  const { data } = compile(Array.from({ length: 300 }, (_, index) => `d${index}: 10.\n`).join(""));
  assert.equal(data.groups.length, 256);
  assert.deepEqual(
    [...data.scanned],
    Array.from({ length: 44 }, (_, index) => 256 + index),
  );
  assert.ok(data.scannedGroups.every((group) => group === NO_GROUP));
});

test("each daemon list is one group, however many there are between two rules of it", () => {
  const rules = Array.from({ length: 100 }, (_, index) => `d${index}: 10.\n`).join("");
  assert.equal(compile(rules + rules).data.groups.length, 100);
});

test("a rule that is asked on its own keeps its group", () => {
  const { data } = compile("sshd: 10.\nALL: LOCAL\nx@y: 10.\n");
  assert.deepEqual([...data.scannedGroups], [1, NO_GROUP]);
});

test("each rule is found again where it stands, with its line, text and options", () => {
  const text = "\xef\xbb\xbfa: b\n# c\n\nd: e: f \n g: \\\n h\ni\0: j\nk: l\nm: n:";
  const { data } = compile(text);
  const rules = [
    { line: 1, text: "a: b" },
    { line: 4, text: "d: e: f ", options: " f " },
    { line: 6, text: " g:  h" },
    { line: 7, text: "ik: l" },
    { line: 8, text: "m: n:", options: "" },
  ];
  for (const [index, rule] of rules.entries()) {
    const { text: written, ...matched } = rule;
    assert.deepEqual(matchedAt(data, index), matched);
    assert.equal(textAt(data, index), written);
    const { line, text, options } = ruleAt(data, index) ?? {};
    assert.deepEqual({ line, text, ...(options !== undefined && { options }) }, rule);
  }
  for (const index of [-1, rules.length]) {
    assert.equal(matchedAt(data, index), undefined);
    assert.equal(textAt(data, index), undefined);
    assert.equal(ruleAt(data, index), undefined);
  }
});

test("a visitor hears of files, netgroups and options, with their places", () => {
  const heard = compile("a@/one: b EXCEPT u@/two : x: y\nc: @g \\\n /three: z\nd@@h: ALL:\n");
  assert.deepEqual(heard.files, [
    ["/one", 1, 3],
    ["/two", 1, 20],
    ["/three", 3, undefined],
  ]);
  assert.equal(heard.netgroups, 2);
  assert.deepEqual(heard.options, [
    [" x: y", 1, 26],
    [" z", 3, undefined],
    ["", 4, 11],
  ]);
});

test("a plain line of the longest length is taken, a longer one ends the table", () => {
  const fits = `#${"x".repeat((1 << 20) - 1)}`;
  assert.equal(compile(`${fits}\nb: c\n`).data.places.length, 2);
  const { data, codes } = compile(`b: c\n${fits}x\nb: c\n`);
  assert.equal(data.places.length, 2);
  assert.deepEqual([codes, data.broken?.code, data.broken?.line], [["line-too-long"], "line-too-long", 2]);
});

test("a line is plain again behind one that is not, so that its places are known", () => {
  const column = (text: string): (number | undefined)[] => compile(text).options.map((place) => place[2]);
  assert.deepEqual(column("a\0x\nb: c: d\n"), [undefined]);
  assert.deepEqual(column("a\0x\nb: c\ne: f: g\nh: i: \0\nj: k: l\n"), [6, undefined]);
  assert.deepEqual(column("a: \\\nb: c\nd: e: f\n"), [undefined, 6]);
  assert.deepEqual(column(`#${"x".repeat(1 << 20)}\n`.slice(2) + "a: b: c\n"), [6], "beyond a mebibyte too");
});

test("a remark about a line without colon shows its start", () => {
  const remark = (text: string) => {
    const { diagnostics } = compileTable("f", { kind: "text", bytes: Buffer.from(text) }, silent);
    return diagnostics;
  };
  assert.deepEqual(remark("\nno colon\n"), [
    {
      file: "f",
      line: 2,
      column: 1,
      severity: "warning",
      code: "missing-colon",
      message: 'missing ":" separator in "no colon"; the line is skipped',
      hint: "write DAEMONS : CLIENTS",
    },
  ]);
  const shown = (length: number) =>
    /in "(.*)";/.exec(remark(`${"x".repeat(length)}\n`)[0]?.message ?? "")?.[1];
  assert.deepEqual([shown(60), shown(61)], ["x".repeat(60), `${"x".repeat(60)}...`]);
});

test("remarks about lines without colon are bounded", () => {
  assert.equal(compile("x\n".repeat(1500)).codes.length, 1000);
});

test("a table that is missing is empty, one that is unreadable broken", () => {
  const visitor = { file: assert.fail, netgroup: assert.fail, options: assert.fail };
  const missing = compileTable("f", { kind: "missing" }, visitor);
  assert.deepEqual(
    [missing.data.places.length, missing.data.broken, missing.diagnostics],
    [0, undefined, []],
  );
  const { data, diagnostics } = compileTable("f", { kind: "unreadable", reason: "r" }, visitor);
  assert.deepEqual([data.places.length, data.broken], [0, diagnostics[0]]);
  assert.deepEqual(diagnostics, [
    { file: "f", line: 0, severity: "error", code: "cannot-open", message: "cannot open f: r" },
  ]);
});

test("interfaces go with the data, so that a rule means the same when it is read again", () => {
  const visitor = { file: assert.fail, netgroup: assert.fail, options: assert.fail };
  const bytes = Buffer.from("a: [fe80::1%x]\n");
  const kindOf = (interfaces?: ReadonlySet<string>): string | undefined => {
    const { data } = compileTable("f", { kind: "text", bytes }, visitor, interfaces);
    const host = ruleAt(data, 0)?.clients[0]?.[0]?.host;
    assert.equal(data.hosts.ipv6.ranks.length > 0, host?.kind === "text" && host.pattern.kind === "ipv6");
    return host?.kind === "text" ? host.pattern.kind : undefined;
  };
  assert.deepEqual([kindOf(), kindOf(new Set(["x"])), kindOf(new Set(["y"]))], ["ipv6", "ipv6", "never"]);
});

test("the words of a file are parted by white space of any kind, and end at a NUL byte", () => {
  const files: [string, number, number | undefined][] = [];
  let netgroups = 0;
  const bytes = Buffer.from("10.0.0.1\va\f/x\n\t* @g\r\n /y\0z 11.\0 \0a");
  const data = compileList(bytes, { file: (...place) => files.push(place), netgroup: () => netgroups++ });
  assert.deepEqual([...data.starts], [0, 9, 11, 15, 17, 22, 27, 32]);
  assert.deepEqual([...data.scanned], [2, 3, 4, 5]);
  assert.deepEqual(files, [
    ["/x", 1, 12],
    ["/y", 3, 2],
  ]);
  assert.equal(netgroups, 1);
  assert.equal(data.hosts.ipv4.ranks.length > 0, true);
});

const silent = { file: () => {}, netgroup: () => {}, options: () => {} };

function compile(text: string): Heard {
  const heard = { files: [] as Heard["files"], options: [] as Heard["options"], netgroups: 0 };
  const { data, diagnostics } = compileTable(
    "f",
    { kind: "text", bytes: Buffer.from(text, "latin1") },
    {
      file: (...place) => heard.files.push(place),
      netgroup: () => heard.netgroups++,
      options: (...place) => heard.options.push(place),
    },
  );
  return { ...heard, data, codes: diagnostics.map(({ code }) => code) };
}

test("a directory is an empty table, and is told of", () => {
  const visitor = { file: () => true, netgroup: () => undefined, options: () => undefined };
  const { data, diagnostics } = compileTable("/etc/hosts.deny", { kind: "directory" }, visitor);
  assert.deepEqual([data.groups, [...data.scanned]], [[], []]);
  const message = "/etc/hosts.deny is a directory; it counts as an empty table";
  assert.deepEqual(diagnostics, [
    { file: "/etc/hosts.deny", line: 0, severity: "warning", code: "table-is-directory", message },
  ]);
});
