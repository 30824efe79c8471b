/** Compiled tables and lists: what they remember, and that they give back what was read. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { compileTable } from "../../src/access/compile.ts";
import { NO_GROUP } from "../../src/access/table-data.ts";
import { compileList } from "../../src/access/compile-list.ts";
import { listOf, tableOf, type TableIndex } from "../../src/access/compiled.ts";
import { parseOptions } from "../../src/access/option-text.ts";
import type { HostList, Table } from "../../src/access/tables.ts";

const silent = { file: () => {}, netgroup: () => {}, options: () => {} };

function table(text: string, interfaces?: ReadonlySet<string>): { table: Table; index: TableIndex } {
  const source = { kind: "text", bytes: Buffer.from(text) } as const;
  const table = tableOf(compileTable("f", source, silent, interfaces).data);
  return { table, index: table.index ?? assert.fail("a compiled table has an index") };
}

test("a table gives its rules one by one and in order, with their line, text and options", () => {
  const { rules } = table("# x\na: b\n\nc: d : allow\ne: \\\n f\n").table;
  const expected = [
    { line: 2, text: "a: b" },
    { line: 4, text: "c: d : allow", options: " allow" },
    { line: 6, text: "e:  f" },
  ];
  assert.equal(rules.length, 3);
  assert.deepEqual(
    [...rules].map(({ line, text, options }) => ({ line, text, ...(options && { options }) })),
    expected,
  );
  for (const [index, { text, line, options }] of expected.entries()) {
    assert.equal(rules.at(index)?.text, text);
    assert.equal(rules.text(index), text);
    const matched = options === undefined ? { line } : { line, options: parseOptions(options) };
    assert.deepEqual(rules.matched(index), matched);
  }
  assert.equal(rules.matched(1), rules.matched(1), "options are read once and kept");
  assert.deepEqual([rules.at(3), rules.text(3), rules.matched(3)], [undefined, undefined, undefined]);
  assert.deepEqual([...table("").table.rules], []);
});

test("a table says where it breaks off, a whole one nothing", () => {
  assert.ok(!("broken" in table("a: b\n").table));
  const { data } = compileTable("f", { kind: "unreadable", reason: "r" }, silent);
  assert.equal(tableOf(data).broken?.code, "cannot-open");
});

test("the groups that count are those whose daemon list matches", () => {
  const { index } = table("a: 10.\nb: 10.\na c: 10.\n");
  const groups = index.openGroups("a", 1, (list) =>
    list.some((part) =>
      part.some(({ left }) => typeof left === "object" && left.kind === "exact" && left.text === "a"),
    ),
  );
  assert.deepEqual(
    [groups.numbers, [...groups.flags]],
    [
      [0, 2],
      [1, 0, 1],
    ],
  );
});

test("groups are asked for once for a daemon at a port", () => {
  const { index } = table("a: 10.\n");
  assert.equal(index.groupsOf("a", 1), undefined);
  const one = index.openGroups("a", 1, () => true);
  const other = index.openGroups("a", undefined, () => false);
  const third = index.openGroups("b", 1, () => false);
  assert.equal(index.groupsOf("a", 1), one);
  assert.equal(index.groupsOf("a", undefined), other);
  assert.equal(index.groupsOf("b", 1), third);
  assert.equal(index.groupsOf("a", 2), undefined);
  assert.deepEqual([one.numbers, other.numbers], [[0], []]);
});

test("so many daemons are remembered and no more: one too many, and all are forgotten but it", () => {
  const { index } = table("a: 10.\n");
  const count = (): number =>
    Array.from({ length: 200 }, (_, port) => index.groupsOf("a", port)).filter((known) => known !== undefined)
      .length;
  for (let port = 0; port < 64; port++) index.openGroups("a", port, () => true);
  assert.equal(count(), 64);
  index.openGroups("a", 64, () => true);
  assert.equal(count(), 1);
  assert.ok(index.groupsOf("a", 64));
});

test("a rule that is asked one by one is read once, and only where its group counts", () => {
  const { index } = table("a: LOCAL\nb: LOCAL\nc@10.0.0.1: ALL\n");
  const groups = index.openGroups("a", 1, (list) => JSON.stringify(list).includes('"a"'));
  assert.deepEqual([...index.scanned], [0, 1, 2]);
  const rule = index.scannedRule(0, groups);
  assert.equal(rule?.text, "a: LOCAL");
  assert.equal(index.scannedRule(0, groups), rule, "the very same");
  assert.equal(index.scannedRule(1, groups), undefined, "b does not count");
  assert.equal(index.scannedRule(2, groups)?.text, "c@10.0.0.1: ALL", "a rule without group always does");
  assert.equal(index.scannedRule(3, groups), undefined, "there is no such place");
  assert.deepEqual(
    [0, 1, 2].map((place) => index.isGrouped(place)),
    [true, true, false],
  );
});

test("the daemon list of a group knows which interfaces there are", () => {
  const kinds = [undefined, new Set(["lo"]), new Set<string>()].map((interfaces) => {
    let kind: string | undefined;
    table("[fe80::1%lo]: ALL\n", interfaces).index.openGroups("a", 1, ([part]) => {
      const left = part?.[0]?.left;
      kind = typeof left === "object" ? left.kind : "port";
      return false;
    });
    return kind;
  });
  assert.deepEqual(kinds, ["ipv6", "ipv6", "never"]);
});

test("rules beyond the last group are marked so", () => {
  const text = Array.from({ length: 257 }, (_, number) => `d${number}: LOCAL\n`).join("");
  const { data } = compileTable("f", { kind: "text", bytes: Buffer.from(text) }, silent);
  assert.deepEqual([data.scannedGroups[255], data.scannedGroups[256]], [255, NO_GROUP]);
});

function list(text: string, interfaces?: ReadonlySet<string>): HostList {
  return listOf(compileList(Buffer.from(text), silent, interfaces), new Set());
}

test("a list gives its words one by one, as patterns", () => {
  const { patterns } = list("10.0.0.1 @g\n/x\0y LOCAL");
  assert.equal(patterns.length, 4);
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((index) => patterns.at(index)?.kind),
    ["text", "netgroup", "file", "LOCAL", undefined],
  );
  assert.deepEqual(patterns.at(2), { kind: "file", path: "/x" });
});

test("a word that is asked one by one is read once", () => {
  const { index } = list("10.0.0.1 @g LOCAL");
  assert.deepEqual([...(index?.scanned ?? [])], [1, 2]);
  const pattern = index?.scannedPattern(0);
  assert.deepEqual(pattern, { kind: "netgroup", group: "g" });
  assert.equal(index?.scannedPattern(0), pattern, "the very same");
  assert.deepEqual(index?.scannedPattern(1), { kind: "LOCAL" });
  assert.equal(index?.scannedPattern(2), undefined);
});

test("the words of a list know which interfaces there are", () => {
  const kinds = [undefined, new Set(["lo"]), new Set<string>()].map((interfaces) => {
    const pattern = list("[fe80::1%lo]", interfaces).patterns.at(0);
    return pattern?.kind === "text" ? pattern.pattern.kind : "";
  });
  assert.deepEqual(kinds, ["ipv6", "ipv6", "never"]);
});

test("the options of many rules are kept, and are the same when they have been forgotten", () => {
  const { rules } = table(Array.from({ length: 3000 }, (_, line) => `d: c: nice ${line}\n`).join("")).table;
  for (let round = 0; round < 2; round++) {
    for (let index = 0; index < 3000; index++)
      assert.deepEqual(rules.matched(index)?.options, parseOptions(` nice ${index}`));
  }
});
