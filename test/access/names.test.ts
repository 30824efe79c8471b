/** Texts in a hash table: the same first rule as asking every text in order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  EXACT,
  exactNames,
  findExactName,
  findText as findHashed,
  hashText,
  NamesBuilder,
  type NamesData,
  PREFIX,
  SUFFIX,
} from "../../src/access/names.ts";
import { NONE } from "../../src/access/ranges.ts";

function findText(names: NamesData, text: string, groups: Uint8Array, isName: boolean): number {
  return findHashed(names, hashText(text), groups, isName);
}

const KINDS = [EXACT, SUFFIX, PREFIX] as const;
type Entry = { text: string; kind: (typeof KINDS)[number]; mayBeName: boolean; group: number };

function builderOf(entries: readonly Entry[]): NamesBuilder {
  const builder = new NamesBuilder();
  for (const [rank, { text, kind, mayBeName, group }] of entries.entries()) {
    const bytes = Buffer.from(`<${text}>`, "latin1");
    builder.add(bytes, 1, bytes.length - 1, kind, mayBeName, rank, group);
  }
  return builder;
}

function entry(text: string, kind: Entry["kind"] = EXACT, mayBeName = true, group = 0): Entry {
  return { text, kind, mayBeName, group };
}

const ALL = Uint8Array.of(1, 1);
const rows: [entries: Entry[], text: string, first: number, because: string][] = [
  [[], "a", NONE, "nothing is there"],
  [[entry("host.test")], "host.test", 0, "a name"],
  [[entry("HOST.Test")], "host.test", 0, "kept in lower case"],
  [[entry("AZ@[.test")], "az@[.test", 0, "that of A to Z"],
  [[entry("host.test")], "host.tes", NONE, "shorter"],
  [[entry("host.test")], "xhost.test", NONE, "longer"],
  [[entry(".test", SUFFIX)], "host.test", 0, "an end"],
  [[entry(".test", SUFFIX)], ".test", NONE, "which needs something before it"],
  [[entry(".b.test", SUFFIX), entry(".test", SUFFIX)], "a.b.test", 0, "a longer end further up"],
  [[entry(".test", SUFFIX), entry(".b.test", SUFFIX)], "a.b.test", 0, "a shorter end further up"],
  [[entry("x"), entry(".test", SUFFIX), entry("a.test")], "a.test", 1, "whichever comes first"],
  [[entry("a.", PREFIX)], "a.b", 0, "a start"],
  [[entry("a.", PREFIX)], "a.", 0, "alone"],
  [[entry("a.", PREFIX)], "b.a.c", NONE, "at the start only"],
  [[entry("a.b.", PREFIX), entry("a.", PREFIX)], "a.c.d", 1, "a shorter start"],
  [[entry("a.test"), entry("a.test")], "a.test", 0, "the same twice"],
  [[entry("a.test", EXACT, true, 1), entry("a.test")], "a.test", 0, "in another group too"],
  [[entry("", EXACT)], "", 0, "nothing equals nothing"],
  [[entry("a.test", SUFFIX)], "x.a.test", NONE, "an end begins with its dot"],
];
for (const [entries, text, first, because] of rows) {
  test(`${entries.map((each) => each.text).join(" ")} and ${text}: ${because}`, () => {
    assert.equal(findText(builderOf(entries).build(), text, ALL, true), first);
  });
}

test("a group that does not count is passed over", () => {
  const names = builderOf([entry("a.test", EXACT, true, 1), entry("a.test")]).build();
  assert.equal(findText(names, "a.test", Uint8Array.of(1, 0), true), 1);
  assert.equal(findText(names, "a.test", Uint8Array.of(0, 1), true), 0);
  assert.equal(findText(names, "a.test", Uint8Array.of(0, 0), true), NONE);
});

test("digits are compared with addresses and not with names", () => {
  const names = builderOf([entry(".2.1", SUFFIX, false), entry(".1", SUFFIX)]).build();
  assert.ok(names.hasDigitSuffixes);
  assert.equal(findText(names, "0.0.2.1", ALL, false), 0);
  assert.equal(findText(names, "0.0.2.1", ALL, true), 1);
  assert.ok(!builderOf([entry(".test", SUFFIX), entry("1", EXACT, false)]).build().hasDigitSuffixes);
});

for (const [text, isPlain, because] of [
  ["host-1_x.test", true, "letters, digits and signs"],
  ["", true, "nothing"],
  ["host.Test", false, "a capital"],
  ["A", false, "the first one"],
  ["Z", false, "the last one"],
  ["@[`{/;", true, "what stands beside capitals and the colon"],
  ["fe80::1", false, "a colon"],
  ["h\u00f6st", false, "a letter beyond ASCII"],
  ["\x7f", true, "the last of ASCII"],
] as const) {
  test(`${JSON.stringify(text)} is ${isPlain ? "plain" : "not plain"}: ${because}`, () => {
    assert.equal(hashText(text).isPlain, isPlain);
    assert.equal(hashText(text).text, text);
  });
}

test("a text with more dots than there are bits is found", () => {
  for (const dots of [30, 31, 32, 33, 64, 100]) {
    const text = `a${".b".repeat(dots)}`;
    assert.equal(findText(builderOf([entry(text)]).build(), text, ALL, true), 0);
    assert.equal(findText(builderOf([entry(text.slice(1), SUFFIX)]).build(), text, ALL, true), 0);
    assert.equal(findText(builderOf([entry(`${text}.`, PREFIX)]).build(), `${text}.c`, ALL, true), 0);
    assert.equal(findText(builderOf([entry(text)]).build(), `${text}.b`, ALL, true), NONE);
  }
});

/** Pairs of one hash: whoever owns a reverse zone may choose such a name. */
const collisions: [held: Entry[], text: string, because: string][] = [
  [[entry("h0223828.example")], "h1066415.example", "a name of the same length"],
  [[entry("host.test.aaycg0fy")], "host.test", "a longer one"],
  [[entry("host.test"), entry(".aaycg0fy")], "host.test.aaycg0fy", "a shorter one"],
  [[entry(".d0223828.example", SUFFIX)], "x.d1066415.example", "an end"],
  [[entry(".test.aaycg0fy", SUFFIX)], "host.test", "a longer end"],
];
for (const [held, text, because] of collisions) {
  test(`${text} is not ${held[0]?.text}, though both have one hash: ${because}`, () => {
    const part = held[0]?.kind === SUFFIX ? text.slice(text.indexOf(".")) : text;
    assert.equal(hashText(part).whole, hashText(held[0]?.text ?? "").whole);
    const names = builderOf(held).build();
    assert.equal(findText(names, text, ALL, true), NONE);
    assert.equal(findExactName(names, text, ALL), NONE);
    const both = builderOf([...held, { ...entry(part), kind: held[0]?.kind ?? EXACT }]).build();
    assert.equal(findText(both, text, ALL, true), held.length);
  });
}

test("the same text in the same group takes its place once, for its first rule", () => {
  const taken = (entries: Entry[]): number[] =>
    [...builderOf(entries).build().slots]
      .filter((number, slot) => slot % 2 === 1 && number !== 0)
      .sort((left, right) => left - right);
  const one = entry("one.test");
  const two = entry("two.test");
  assert.deepEqual(taken([two, one, one, two, one]), [1, 2]);
  assert.deepEqual(taken([one, { ...one, group: 1 }, one]), [1, 2], "in another group again");
  assert.deepEqual(taken([entry("a.", EXACT), entry("a.", PREFIX), entry("a.", EXACT)]), [1, 2], "or kind");
  assert.deepEqual(taken([one, { ...one, mayBeName: false }]), [1, 2], "or for addresses only");
});

test("a whole name is found as a name only, not by its end or start", () => {
  const names = builderOf([
    entry("1.2.", EXACT, false),
    entry(".test", SUFFIX),
    entry("a.", PREFIX),
    entry("a.test"),
    entry("b.test", EXACT, true, 1),
  ]).build();
  const find = (text: string, groups = ALL): number => findExactName(names, text, groups);
  assert.deepEqual(
    ["a.test", "b.test", "c.test", "1.2.", "a."].map((text) => find(text)),
    [3, 4, NONE, NONE, NONE],
  );
  assert.equal(find("b.test", Uint8Array.of(1, 0)), NONE);
});

test("whole names are listed as they are kept, and nothing else is", () => {
  const names = builderOf([
    entry(".d.test", SUFFIX),
    entry("A.test"),
    entry("a.", PREFIX),
    entry("10.0.0.1", EXACT, false),
    entry("b.test", EXACT, true, 1),
  ]).build();
  assert.deepEqual([...exactNames(names)], ["a.test", "b.test"]);
  assert.deepEqual([...exactNames(builderOf([]).build())], []);
});

test("a mark where nothing was added since changes nothing", () => {
  const builder = builderOf([entry("one.test"), entry("two.test")]);
  builder.cutBack(1);
  builder.cutBack(1);
  builder.add(Buffer.from("three.test"), 0, 10, EXACT, true, 5, 0);
  builder.cutBack(2);
  assert.deepEqual([...exactNames(builder.build())], ["one.test", "three.test"]);
});

test("what was added since a mark is forgotten", () => {
  const builder = builderOf([entry("one.test"), entry("two.test")]);
  builder.cutBack(2);
  assert.equal(builder.length, 2);
  builder.cutBack(1);
  builder.add(Buffer.from("three.test"), 0, 10, EXACT, true, 5, 0);
  const names = builder.build();
  const find = (text: string): number => findText(names, text, ALL, true);
  assert.deepEqual([find("one.test"), find("two.test"), find("three.test")], [0, NONE, 5]);
  assert.equal(Buffer.from(names.pool).toString(), "one.testthree.test");
});

test("thousands of texts, many alike, agree with asking them in order", () => {
  const labels = ["a", "b", "ab", "ba", "aa", "a-b", "x1", ""];
  const texts: string[] = [];
  for (const one of labels)
    for (const two of labels)
      for (const three of labels) texts.push([one, two, three].join("."), `${one}.${two}`, one);
  const entries = texts.flatMap((text, index) =>
    index % 3 === 0 ? [] : [entry(text, KINDS[index % 7 > 2 ? 0 : index % 7], index % 5 > 0, index % 2)],
  );
  const names = builderOf(entries).build();
  for (const text of texts) {
    for (const isName of [true, false]) {
      for (const groups of [Uint8Array.of(1, 0), Uint8Array.of(0, 1), ALL]) {
        const first = entries.findIndex(
          (each) =>
            groups[each.group] === 1 &&
            (each.mayBeName || !isName) &&
            (each.kind === EXACT
              ? text === each.text
              : each.kind === SUFFIX
                ? each.text.startsWith(".") && text.length > each.text.length && text.endsWith(each.text)
                : each.text.endsWith(".") && text.startsWith(each.text)),
        );
        assert.equal(findText(names, text, groups, isName), first < 0 ? NONE : first, `${text} ${isName}`);
      }
    }
  }
});

test("the table has room for every text and looks at few slots for each", () => {
  const names = builderOf(
    Array.from({ length: 5000 }, (_, index) => entry(`host${index}.bad${index % 97}.example`)),
  ).build();
  assert.equal(names.entries.length, 5000 * 4);
  assert.ok(names.slots.length >= 5000 * 4);
  let longest = 0;
  let run = 0;
  for (let slot = 0; slot < names.slots.length; slot += 2) {
    run = names.slots[slot + 1] === 0 ? 0 : run + 1;
    longest = Math.max(longest, run);
  }
  assert.ok(longest < 60, `the longest run of taken slots is ${longest}`);
});
