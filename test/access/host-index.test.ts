/** What an index holds of a word, and how: usual spellings are read off the bytes, others through the parser. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  findAddress,
  findAsking,
  HostIndexBuilder,
  indexedAddress,
  type HostIndex,
} from "../../src/access/host-index.ts";
import { findText, hashText } from "../../src/access/names.ts";
import { parseHost } from "../../src/access/pattern.ts";
import { NONE } from "../../src/access/ranges.ts";

/** `how` is "read" (off the bytes), "parsed", or "not" (held). `what` is where it went. */
const rows: [word: string, how: "read" | "parsed" | "not", what: string, because: string][] = [
  ["192.0.2.1", "read", "ipv4 1", "an address"],
  ["0.0.0.0", "read", "ipv4 1", "with zeros"],
  ["255.255.255.255", "read", "ipv4 1", "the last one"],
  ["192.0.2.", "read", "ipv4 256", "three fields"],
  ["10.", "read", "ipv4 16777216", "one"],
  ["0.", "read", "ipv4 16777216", "zero"],
  ["192.0.2.0/24", "read", "ipv4 256", "a net"],
  ["0.0.0.0/1", "read", "ipv4 2147483648", "a wide one"],
  ["10.0.0.1/32", "read", "ipv4 1", "a narrow one"],
  ["192.0.2.1/24", "read", "", "one that is dead"],
  ["192.0.2.010", "parsed", "", "a leading zero matches no usual address"],
  ["256.0.0.1", "parsed", "", "nor does a field too large"],
  ["1.2.3.4.", "parsed", "", "nor a dot behind four"],
  ["1.2.3", "parsed", "", "nor three without one"],
  ["1.2.3.4.5", "parsed", "", "nor five"],
  ["1..2.", "parsed", "", "nor an empty field"],
  ["0.0.0.0/0", "parsed", "", "nor a length of nothing"],
  ["10.0.0.0/33", "parsed", "", "nor one too long"],
  ["10.0.0.0/", "parsed", "", "nor an empty one"],
  ["255.255.255.255/32", "parsed", "", "nor a net of the last address"],
  ["10.0.0.0/008", "parsed", "ipv4 16777216", "a length in another spelling"],
  ["10.0.0.0/8x", "parsed", "ipv4 16777216", "with junk behind it"],
  ["0.0.0.0/2/", "parsed", "ipv4 1073741824", "or a slash"],
  ["10.0.0.0/255.0.0.0", "parsed", "ipv4 16777216", "a written mask"],
  ["0.0.0.0/0.0.0.0", "parsed", "ipv4 4294967296", "of everything"],
  ["012.0.0.0/8", "parsed", "ipv4 16777216", "an octal net"],
  ["0.0.2.0/0.0.255.0", "not", "", "a mask with holes"],
  ["1.0.0.0/0.0.255.0", "parsed", "", "a dead one with holes"],
  ["[2001:db8::1]", "parsed", "ipv6 asks", "an IPv6 address, which could be a name"],
  ["[2001:db8::]/32", "parsed", "ipv6", "an IPv6 net, which could not"],
  ["[2001:db8::]/129", "parsed", "", "a dead one"],
  ["[::1", "parsed", "name asks", "brackets that are none"],
  ["[]", "parsed", "asks", "and that hold nothing"],
  ["host.test", "read", "name asks", "a name"],
  ["HOST-1_x.test", "read", "name asks", "of all its letters"],
  [".example", "read", "name asks", "an end"],
  ["example.", "read", "name asks", "a start"],
  ["1e.test", "parsed", "name asks", "one that begins with a digit"],
  ["ab.cd", "parsed", "name asks", "one that is short"],
  ["ab.cde", "parsed", "name asks", "up to the length of the longest reserved word"],
  ["ab.cdef", "read", "name asks", "and no further"],
  ["ab.", "parsed", "name asks", "a short start"],
  [".ab", "parsed", "name asks", "a short end"],
  ["unknown", "read", "name asks", "a reserved value"],
  [".2.10.20.30", "parsed", "name", "an end of digits, which is no name"],
  [".", "parsed", "name", "a dot"],
  ["ho!st.test", "parsed", "name asks", "a letter that no name has"],
  ["ALL", "parsed", "all", "ALL"],
  ["LOCAL", "not", "", "LOCAL"],
  ["known", "not", "", "KNOWN"],
  ["/etc/list", "not", "", "a file"],
  ["@group", "not", "", "a netgroup"],
  ["*.example", "not", "", "a wildcard"],
  ["host?example", "not", "", "of either kind"],
];
for (const [word, how, what, because] of rows) {
  test(`${word} is ${how === "not" ? "not held" : how}: ${because}`, () => {
    const { index, isHeld, parsed } = build([word]);
    assert.equal(isHeld[0], how !== "not");
    assert.equal(parsed, how === "read" ? 0 : 1);
    assert.equal(contents(index), what);
  });
}

test("a word is read between its ends, whatever stands around it", () => {
  const bytes = Buffer.from("9host.test9 10.0.0.19 10.0.0.0/89");
  const builder = new HostIndexBuilder(parseHost, () => true);
  builder.addGroup();
  assert.ok(builder.add(bytes, 1, 10, 0, 0));
  assert.ok(builder.add(bytes, 12, 20, 1, 0));
  assert.ok(builder.add(bytes, 22, 32, 2, 0));
  const index = builder.build();
  assert.equal(find(index, "10.0.0.1"), 1);
  assert.equal(find(index, "10.0.0.19"), 2);
  assert.equal(find(index, "192.0.2.1", "host.test"), 0);
});

test("a short end or start of a name is found as a long one is", () => {
  const { index } = build(["ab.", ".cd", "ex.am"]);
  const find4 = (name: string): number => find(index, "192.0.2.1", name);
  assert.deepEqual(["ab.x", "x.cd", "ex.am", "ab"].map(find4), [0, 1, 2, NONE]);
});

test("what was added since a mark is forgotten, in every part", () => {
  const builder = new HostIndexBuilder(parseHost, () => true);
  builder.addGroup();
  const add = (word: string, rank: number): boolean =>
    builder.add(Buffer.from(word), 0, word.length, rank, 0);
  add("10.0.0.1", 0);
  const mark = builder.mark(0);
  for (const word of ["10.0.0.2", "[2001:db8::]/32", "host.test", "ALL"]) assert.ok(add(word, 1));
  builder.cutBack(mark, 0);
  const index = builder.build();
  assert.equal(contents(index), "ipv4 1");
  assert.equal(find(index, "10.0.0.1"), 0);
  assert.equal(find(index, "10.0.0.2"), NONE);
});

test("the first rank counts for ALL and for the name, in each group on its own", () => {
  const builder = new HostIndexBuilder(parseHost, () => true);
  builder.addGroup();
  builder.addGroup();
  for (const [rank, [word, group]] of (
    [
      ["10.0.0.1", 0],
      ["host.test", 1],
      ["ALL", 1],
      ["other.test", 0],
      ["ALL", 1],
      ["host.test", 1],
      ["ALL", 0],
    ] as const
  ).entries()) {
    builder.add(Buffer.from(word), 0, word.length, rank, group);
  }
  const index = builder.build();
  assert.deepEqual([...index.firstAll], [6, 2]);
  assert.deepEqual([...index.firstAsking], [3, 1]);
  assert.deepEqual([findAsking(index, [0]), findAsking(index, [1, 0]), findAsking(index, [])], [3, 1, NONE]);
  assert.equal(find(index, "192.0.2.1", undefined, [0]), 6);
  assert.equal(find(index, "192.0.2.1", undefined, [0, 1]), 2);
  assert.equal(find(index, "10.0.0.1", undefined, [0, 1]), 0);
  assert.equal(find(index, "10.0.0.1", undefined, [1]), 2);
  assert.equal(find(index, "192.0.2.1", undefined, []), NONE);
});

test("an address is looked for in its own kind, and its text where a text could match it", () => {
  const { index } = build([
    "[2001:db8::]/32",
    "2001:db8::7",
    "fe80::*",
    "unknown",
    ".0.2.9",
    "10.",
    "[::]/0",
  ]);
  assert.equal(find(index, "2001:db8::1"), 0);
  assert.equal(find(index, "fe80::7"), 6);
  assert.equal(find(index, "unknown"), 3);
  assert.equal(find(index, "192.0.2.9"), 4);
  assert.equal(find(index, "192.0.2.8"), NONE);
  assert.equal(find(index, "10.0.2.9"), 4);
  assert.equal(find(build(["2001:db8::7", "[::]/0"]).index, "2001:db8::7"), 0);
});

const addresses: [text: string, quad: number | undefined, because: string][] = [
  ["1.2.3.4", 0x01020304, "a quad"],
  ["0.0.0.0", 0, "of zeros"],
  ["255.255.255.254", 0xfffffffe, "the last but one"],
  ["::ffff:1.2.3.4", 0x01020304, "a mapped one"],
  ["unknown", -1, "an unknown address"],
  ["2001:db8::1", -1, "IPv6"],
  ["255.255.255.255", undefined, "the last one, which is in no net"],
  ["01.2.3.4", undefined, "a leading zero"],
  ["1.2.3", undefined, "three fields"],
  ["1.2.3.4.5", undefined, "five"],
  ["1.2.3.", undefined, "an empty one"],
  ["1.2.3.256", undefined, "one too large"],
  ["1.2.3.4x", undefined, "a letter"],
  ["1.2.3/4", undefined, "a slash"],
  ["1.2.3.4/", undefined, "at the end"],
  ["fe80::1%nosuch", -1, "IPv6 of any interface"],
  ["1.2.3:4", undefined, "a colon"],
  ["111.222.111.2223", undefined, "too many digits"],
  ["paranoid", undefined, "a word"],
  ["", undefined, "nothing"],
];
for (const [text, quad, because] of addresses) {
  test(`the address "${text}" is ${quad === undefined ? "unusual" : "usual"}: ${because}`, () => {
    assert.equal(indexedAddress(text)?.quad, quad);
  });
}

function build(words: readonly string[]): { index: HostIndex; isHeld: boolean[]; parsed: number } {
  let parsed = 0;
  const builder = new HostIndexBuilder(
    (word, hasInterface) => {
      parsed++;
      return parseHost(word, hasInterface);
    },
    () => true,
  );
  builder.addGroup();
  const isHeld = words.map((word, rank) => builder.add(Buffer.from(`${word} x`), 0, word.length, rank, 0));
  return { index: builder.build(), isHeld, parsed };
}

function find(index: HostIndex, address: string, name?: string, groups: readonly number[] = [0]): number {
  const indexed = indexedAddress(address);
  assert.ok(indexed);
  const flags = new Uint8Array(index.firstAll.length);
  for (const group of groups) flags[group] = 1;
  const byAddress = findAddress(index, indexed, groups, flags);
  return name === undefined
    ? byAddress
    : Math.min(byAddress, findText(index.names, hashText(name), flags, true));
}

/** Which parts hold something; for IPv4 how many addresses. */
function contents({ ipv4, ipv6, names, firstAll, firstAsking }: HostIndex): string {
  const first = ipv4.starts[0] ?? 0;
  const end = ipv4.ranks.length > 1 ? (ipv4.starts[1] ?? 0) : 2 ** 32;
  return [
    ...(ipv4.ranks.length > 0 ? [`ipv4 ${end - first}`] : []),
    ...(ipv6.ranks.length > 0 ? ["ipv6"] : []),
    ...(names.entries.length > 0 ? ["name"] : []),
    ...(firstAll[0] === NONE ? [] : ["all"]),
    ...(firstAsking[0] === NONE ? [] : ["asks"]),
  ].join(" ");
}
