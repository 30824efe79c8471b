/** Address prefixes as ranges: the same first rule as asking every prefix in order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Words } from "../../src/access/addresses.ts";
import { findIpv4, findIpv6, NONE, RangesBuilder } from "../../src/access/ranges.ts";

type Prefix = [address: number, bits: number, group?: number];

const rows: [prefixes: Prefix[], address: number, first: number, because: string][] = [
  [[], 0, NONE, "no prefix holds anything"],
  [[[0x0a000000, 8]], 0x0a123456, 0, "an address inside"],
  [[[0x0a000000, 8]], 0x09ffffff, NONE, "the one before"],
  [[[0x0a000000, 8]], 0x0b000000, NONE, "the one behind"],
  [[[0x0a000000, 8]], 0x0affffff, 0, "the last one inside"],
  [[[0, 0]], 0, 0, "all, from the first address"],
  [[[0, 0]], 0xffffffff, 0, "to the last"],
  [[[0xffffffff, 32]], 0xffffffff, 0, "the last address alone"],
  [[[0xffffffff, 32]], 0xfffffffe, NONE, "and not the one before it"],
  [
    [
      [0x0a000000, 8],
      [0x0a010000, 16],
    ],
    0x0a010001,
    0,
    "a wider prefix further up covers a narrower one",
  ],
  [
    [
      [0x0a010000, 16],
      [0x0a000000, 8],
    ],
    0x0a010001,
    0,
    "a narrower one further up comes first inside",
  ],
  [
    [
      [0x0a010000, 16],
      [0x0a000000, 8],
    ],
    0x0a020001,
    1,
    "and the wider one behind it",
  ],
  [
    [
      [0x0a010000, 16],
      [0x0a000000, 8],
    ],
    0x0a000001,
    1,
    "and before it",
  ],
  [
    [
      [0x0a000001, 32],
      [0x0a000001, 32],
    ],
    0x0a000001,
    0,
    "the same twice",
  ],
  [
    [
      [0x0a000000, 9],
      [0x0a800000, 9],
    ],
    0x0a800000,
    1,
    "neighbours",
  ],
  [
    [
      [0x0a000000, 24],
      [0x0a000000, 16],
      [0x0a000000, 8],
    ],
    0x0a000100,
    1,
    "three that begin together",
  ],
  [
    [
      [0x0a0000ff, 32],
      [0x0a000000, 24],
      [0x0a000000, 8],
    ],
    0x0a000100,
    2,
    "two that end together",
  ],
  [
    [
      [0x80000000, 1],
      [0, 0],
    ],
    0x7fffffff,
    1,
    "one that ends where addresses end",
  ],
  [[[0x0a000000, 8, 1]], 0x0a000001, NONE, "another group"],
  [
    [
      [0x0a000000, 8, 1],
      [0x0a000000, 16],
    ],
    0x0a000001,
    1,
    "each group on its own",
  ],
];
for (const [prefixes, address, first, because] of rows) {
  test(`${prefixes.length} prefixes and ${address.toString(16)}: ${because}`, () => {
    const builder = new RangesBuilder(1);
    for (const [rank, [start, bits, group = 0]] of prefixes.entries())
      builder.addWord(start, bits, rank, group);
    assert.equal(findIpv4(builder.build(2), 0, address), first);
  });
}

test("ranges that one rule covers have vanished", () => {
  const builder = new RangesBuilder(1);
  builder.addWord(0, 0, 0, 0);
  for (let rank = 1; rank < 1000; rank++) builder.addWord(rank * 7919, 32, rank, 0);
  assert.equal(builder.build(1).ranks.length, 1);
});

test("what was added since a mark is forgotten", () => {
  for (const width of [1, 4] as const) {
    const builder = new RangesBuilder(width);
    builder.add([0x0a000000, 0, 0, 0], 8, 0, 0);
    builder.add([0x0b000000, 0, 0, 0], 8, 1, 0);
    builder.cutBack(1);
    assert.equal(builder.length, 1);
    builder.add([0x0c000000, 0, 0, 0], 8, 2, 0);
    const ranges = builder.build(1);
    const find = (word: number): number =>
      width === 1 ? findIpv4(ranges, 0, word) : findIpv6(ranges, 0, [word, 0, 0, 0]);
    assert.deepEqual([0x0a000000, 0x0b000000, 0x0c000000].map(find), [0, NONE, 2]);
  }
});

test("bits below an IPv6 prefix are taken off, and the carry of its end runs through all words", () => {
  const builder = new RangesBuilder(4);
  builder.add([0x20010db8, 0xffffffff, 0xffffffff, 0xffffffff], 64, 0, 0);
  builder.add([0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], 1, 1, 0);
  const ranges = builder.build(1);
  const find = (...words: Words): number => findIpv6(ranges, 0, words);
  assert.equal(find(0x20010db8, 0xffffffff, 0, 0), 0);
  assert.equal(find(0x20010db8, 0xffffffff, 0xffffffff, 0xffffffff), 0);
  assert.equal(find(0x20010db9, 0, 0, 0), NONE);
  assert.equal(find(0x20010db8, 0xfffffffe, 0xffffffff, 0xffffffff), NONE);
  assert.equal(find(0x80000000, 0, 0, 0), 1);
  assert.equal(find(0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff), 1);
});

for (const [width, count] of [
  [1, 40],
  [4, 40],
  [4, 5000],
  [1, 12_000],
] as const) {
  test(`${count} random prefixes of ${width * 32} bits in three groups agree with asking them in order`, () => {
    const random = generator(count + width);
    // Few different words, so that prefixes nest and touch.
    const word = (): number =>
      count > 1000
        ? Math.floor(random() * 2 ** 32)
        : [0, 0x80000000, 0xffffffff, 0x0a000000, 0x0a0000ff][Math.floor(random() * 5)]!;
    const words = (): Words => [word(), word(), word(), word()];
    const builder = new RangesBuilder(width);
    const prefixes = Array.from({ length: count }, (_, rank) => {
      const prefix = {
        words: words(),
        bits: Math.floor(random() * (width * 32 + 1)),
        group: Math.floor(random() * 3),
      };
      // Wide ones would cover all others in a large table.
      if (width === 1 && count > 1000) prefix.bits = 20 + Math.floor(random() * 13);
      builder.add(prefix.words, prefix.bits, rank, prefix.group);
      return prefix;
    });
    const ranges = builder.build(3);
    assert.equal(
      ranges.bucketsOf[0] === NONE,
      width > 1 || count < 1000,
      "a large group has a table by its upper bits",
    );
    for (let round = 0; round < 400; round++) {
      const address = round % 2 === 0 ? words() : prefixes[Math.floor(random() * count)]!.words;
      for (const group of [0, 1, 2]) {
        const first = prefixes.findIndex(
          (prefix) =>
            prefix.group === group &&
            prefix.words.slice(0, width).every((word, index) => {
              const kept = 2 ** Math.max(0, Math.min(32, 32 * (index + 1) - prefix.bits));
              return Math.floor(word / kept) === Math.floor(address[index]! / kept);
            }),
        );
        const found = width === 1 ? findIpv4(ranges, group, address[0]) : findIpv6(ranges, group, address);
        assert.equal(found, first < 0 ? NONE : first);
      }
    }
  });
}

/** The same numbers every time, 0 up to 1. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
