/** Address prefixes as ranges and in blocks: the same first rule as asking every prefix in order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Words } from "../../src/access/addresses.ts";
import { findInBlock, makeBlocks, NO_BLOCKS } from "../../src/access/blocks.ts";
import { Prefixes } from "../../src/access/prefixes.ts";
import { findIpv4, findIpv6, makeRanges, NONE, type RangesData } from "../../src/access/ranges.ts";

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
  [
    [
      [0x0a000000, 8],
      [0x0b000000, 8, 1],
    ],
    0x0b000001,
    NONE,
    "a group ends where another begins",
  ],
  [
    [
      [0x0a000000, 24],
      [0x0a0000ff, 32],
      [0x0a000100, 24],
    ],
    0x0a0000ff,
    0,
    "the last address of a prefix is its own",
  ],
];
for (const [prefixes, address, first, because] of rows) {
  test(`${prefixes.length} prefixes and ${address.toString(16)}: ${because}`, () => {
    const collected = new Prefixes(1);
    for (const [rank, [start, bits, group = 0]] of prefixes.entries())
      collected.addWord(start, bits, rank, group);
    assert.equal(findIpv4(makeRanges(collected, 2), 0, address), first);
    assert.equal(findInBoth(collected, 2, 0, address), first);
  });
}

test("a group knows nothing of one before it that goes up to the last address", () => {
  const narrow = new Prefixes(1);
  narrow.addWord(0, 0, 0, 0);
  narrow.addWord(0x0a000000, 8, 1, 1);
  assert.equal(findIpv4(makeRanges(narrow, 2), 1, 5), NONE);
  const wide = new Prefixes(4);
  wide.add([0, 0, 0, 0], 0, 0, 0);
  wide.add([0x20010000, 0, 0, 0], 16, 1, 1);
  assert.equal(findIpv6(makeRanges(wide, 2), 1, [5, 0, 0, 0]), NONE);
});

/** What is left of prefixes, one range after another: where it begins, and the first rule in it; "-" for a gap. */
const leftovers: [prefixes: Prefix[], left: string, because: string][] = [
  [[], "", "nothing of nothing"],
  [[[0x0a000000, 8]], "0a000000:0 0b000000:-", "a range and the gap behind it"],
  [[[0, 0]], "00000000:0", "no gap behind the last address"],
  [
    [
      [0x0a000000, 16],
      [0x0a000000, 8],
    ],
    "0a000000:0 0a010000:1 0b000000:-",
    "of two that begin together the wider one begins later",
  ],
  [
    [
      [0x0a000000, 8],
      [0x0a000000, 16],
    ],
    "0a000000:0 0b000000:-",
    "or hides the narrower one",
  ],
  [
    [
      [0x0a000000, 9],
      [0x0a800000, 9],
    ],
    "0a000000:0 0a800000:1 0b000000:-",
    "no gap between neighbours",
  ],
  [
    [
      [0x0affff00, 24],
      [0x0a000000, 8],
    ],
    "0a000000:1 0affff00:0 0b000000:-",
    "nor behind two that end together",
  ],
];
for (const [prefixes, left, because] of leftovers) {
  test(`${prefixes.length} prefixes leave "${left}": ${because}`, () => {
    const narrow = new Prefixes(1);
    const wide = new Prefixes(4);
    const low = new Prefixes(4);
    for (const [rank, [address, bits]] of prefixes.entries()) {
      narrow.addWord(address, bits, rank, 0);
      wide.add([address, 0, 0, 0], bits, rank, 0);
      low.add([0, 0, 0, address], 96 + bits, rank, 0);
    }
    const shown = ({ starts, ranks }: RangesData, stride: number, word: number): string =>
      Array.from(ranks, (rank, index) => {
        const start = (starts[index * stride + word] ?? 0).toString(16).padStart(8, "0");
        return `${start}:${rank === NONE ? "-" : rank}`;
      }).join(" ");
    assert.equal(shown(makeRanges(narrow, 1), 1, 0), left);
    assert.equal(shown(makeRanges(wide, 1), 4, 0), left);
    // Where the addresses of a word end, those of an IPv6 address do not.
    assert.equal(shown(makeRanges(low, 1), 4, 3), left === "00000000:0" ? `${left} 00000000:-` : left);
  });
}

test("prefixes that are narrower than asked for are left out", () => {
  const prefixes = new Prefixes(1);
  for (const [rank, bits] of [8, 15, 16, 24].entries()) prefixes.addWord((10 + rank) << 24, bits, rank, 0);
  const kept = (mostBits?: number): number[] =>
    [...makeRanges(prefixes, 1, mostBits).ranks].filter((rank) => rank !== NONE);
  assert.deepEqual([kept(8), kept(15), kept(16), kept()], [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]);
});

/** The parts of a block: a group, and from which lower half of an address to which which rule comes first. */
const partRows: [prefixes: Prefix[], parts: string, because: string][] = [
  [[[0x0a010000, 16]], "0: 0-ffff 0", "a whole block"],
  [[[0x0a010203, 32]], "0: 203-203 0", "one address, and no gap is kept"],
  [
    [
      [0x0a010100, 24],
      [0x0a010000, 16],
    ],
    "0: 0-ff 1, 100-1ff 0, 200-ffff 1",
    "a narrower prefix inside a wider one",
  ],
  [
    [
      [0x0a01ff00, 24],
      [0x0a010000, 16, 1],
    ],
    "0: ff00-ffff 0; 1: 0-ffff 1",
    "a part for each group",
  ],
  [
    [
      [0x0a010000, 16, 1],
      [0x0a000000, 8],
      [0x0a010100, 24, 2],
    ],
    "1: 0-ffff 0; 2: 100-1ff 2",
    "none for prefixes of many blocks",
  ],
  [
    [
      [0x0a000000, 12],
      [0x0a020000, 16],
    ],
    "",
    "nothing of other blocks",
  ],
];
for (const [prefixes, parts, because] of partRows) {
  test(`the block of 10.1 holds "${parts}": ${because}`, () => {
    const collected = new Prefixes(1);
    for (const [rank, [start, bits, group = 0]] of prefixes.entries())
      collected.addWord(start, bits, rank, group);
    const { blocks, cells } = makeBlocks(collected);
    assert.deepEqual([blocks.length, blocks[0], blocks[65536]], [65537, 0, cells.length]);
    const found: string[] = [];
    const end = blocks[0x0a01 + 1] ?? 0;
    for (let part = blocks[0x0a01] ?? 0; part < end; part = cells[part + 1] ?? end) {
      const ranges: string[] = [];
      for (let at = part + 2; at < (cells[part + 1] ?? 0); at += 2) {
        const range = cells[at] ?? 0;
        ranges.push(`${(range & 0xffff).toString(16)}-${(range >>> 16).toString(16)} ${cells[at + 1]}`);
      }
      found.push(`${cells[part]}: ${ranges.join(", ")}`);
    }
    assert.equal(found.join("; "), parts);
  });
}

test("ranges that one rule covers have vanished", () => {
  const prefixes = new Prefixes(1);
  prefixes.addWord(0, 0, 0, 0);
  for (let rank = 1; rank < 1000; rank++) prefixes.addWord(rank * 7919, 32, rank, 0);
  assert.equal(makeRanges(prefixes, 1).ranks.length, 1);
});

test("what was added since a mark is forgotten", () => {
  for (const width of [1, 4] as const) {
    const prefixes = new Prefixes(width);
    prefixes.add([0x0a000000, 0, 0, 0], 8, 0, 0);
    prefixes.add([0x0b000000, 0, 0, 0], 8, 1, 0);
    prefixes.cutBack(1);
    assert.equal(prefixes.length, 1);
    prefixes.add([0x0c000000, 0, 0, 0], 8, 2, 0);
    const ranges = makeRanges(prefixes, 1);
    const find = (word: number): number =>
      width === 1 ? findIpv4(ranges, 0, word) : findIpv6(ranges, 0, [word, 0, 0, 0]);
    assert.deepEqual([0x0a000000, 0x0b000000, 0x0c000000].map(find), [0, NONE, 2]);
  }
});

test("bits below an IPv6 prefix are taken off, and the carry of its end runs through all words", () => {
  const prefixes = new Prefixes(4);
  prefixes.add([0x20010db8, 0xffffffff, 0xffffffff, 0xffffffff], 64, 0, 0);
  prefixes.add([0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], 1, 1, 0);
  const ranges = makeRanges(prefixes, 1);
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
    const collected = new Prefixes(width);
    const prefixes = Array.from({ length: count }, (_, rank) => {
      const prefix = {
        words: words(),
        bits: Math.floor(random() * (width * 32 + 1)),
        group: Math.floor(random() * 3),
      };
      // Wide ones would cover all others in a large table.
      if (width === 1 && count > 1000) prefix.bits = 20 + Math.floor(random() * 13);
      collected.add(prefix.words, prefix.bits, rank, prefix.group);
      return prefix;
    });
    const ranges = makeRanges(collected, 3);
    const blocks = width === 1 ? makeBlocks(collected) : NO_BLOCKS;
    const wide = makeRanges(collected, 3, 15);
    for (let round = 0; round < (count > 1000 ? 100 : 400); round++) {
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
        if (width > 1) continue;
        const inBlock = findInBlock(blocks, address[0], flagsOf(group, 3));
        assert.equal(Math.min(inBlock, findIpv4(wide, group, address[0])), found);
      }
    }
  });
}

const blockRows: [prefixes: Prefix[], address: number, first: number, because: string][] = [
  [[[0x0a010000, 16]], 0x0a010000, 0, "a whole block, from its first address"],
  [[[0x0a010000, 16]], 0x0a01ffff, 0, "to its last"],
  [[[0x0a010000, 16]], 0x0a020000, NONE, "and no further"],
  [[[0xffff0000, 16]], 0xffffffff, 0, "the last block"],
  [[[0x0a01ffff, 32]], 0x0a01ffff, 0, "the last address of a block"],
  [[[0x0a01ffff, 32]], 0x0a020000, NONE, "and not the first of the next"],
  [[[0x0a000000, 15]], 0x0a010000, NONE, "a prefix of two blocks, which is none of theirs"],
  [
    [
      [0x0a010100, 24],
      [0x0a010000, 16],
    ],
    0x0a010200,
    1,
    "behind a narrower one",
  ],
  [
    [
      [0x0a010100, 24, 1],
      [0x0a010100, 32],
    ],
    0x0a010101,
    NONE,
    "another group's",
  ],
];
for (const [prefixes, address, first, because] of blockRows) {
  test(`the block of ${address.toString(16)}: ${because}`, () => {
    const collected = new Prefixes(1);
    for (const [rank, [start, bits, group = 0]] of prefixes.entries())
      collected.addWord(start, bits, rank, group);
    assert.equal(findInBlock(makeBlocks(collected), address, flagsOf(0, 2)), first);
  });
}

test("a block of thousands of ranges is searched by halves, for one group or for all", () => {
  const prefixes = new Prefixes(1);
  for (let low = 0; low < 65536; low += 2) prefixes.addWord(0x0a010000 + low, 32, low, low % 3);
  const blocks = makeBlocks(prefixes);
  for (let low = 0; low < 65536; low += 97) {
    const rank = low % 2 === 0 ? low : NONE;
    assert.equal(findInBlock(blocks, 0x0a010000 + low, Uint8Array.of(1, 1, 1)), rank);
    assert.equal(findInBlock(blocks, 0x0a010000 + low, flagsOf(1, 3)), low % 3 === 1 ? rank : NONE);
  }
});

test("no blocks hold nothing", () => {
  assert.equal(findInBlock(NO_BLOCKS, 0x0a010000, Uint8Array.of(1)), NONE);
});

/** By its blocks where it is narrow, by its ranges where it is wide. */
function findInBoth(prefixes: Prefixes, groupCount: number, group: number, address: number): number {
  const wide = findIpv4(makeRanges(prefixes, groupCount, 15), group, address);
  return Math.min(wide, findInBlock(makeBlocks(prefixes), address, flagsOf(group, groupCount)));
}

function flagsOf(group: number, count: number): Uint8Array {
  const flags = new Uint8Array(count);
  flags[group] = 1;
  return flags;
}

/** The same numbers every time, 0 up to 1. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
