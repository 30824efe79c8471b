/** The order of prefixes: by their keys, the first of which weighs most, and of the same ones the wider first. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prefixes, type SortKey } from "../../src/access/prefixes.ts";
import { generator } from "../bench/access-table.ts";

test("the bits of an address below a prefix are taken off", () => {
  const prefixes = new Prefixes(4);
  prefixes.add([0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], 49, 3, 5);
  prefixes.add([], 128, 4, 6);
  assert.deepEqual([...prefixes.words.view()], [0xffffffff, 0xffff8000, 0, 0, 0, 0, 0, 0]);
  const narrow = new Prefixes(1);
  narrow.add([0xffffffff, 7], 9, 0, 0);
  narrow.addWord(0x0a000000, 8, 1, 2);
  assert.deepEqual([...narrow.words.view()], [0xff800000, 0x0a000000]);
  for (const [prefix, bits, ranks, groups] of [
    [prefixes, [49, 128], [3, 4], [5, 6]],
    [narrow, [9, 8], [0, 1], [0, 2]],
  ] as const) {
    assert.equal(prefix.length, 2);
    assert.deepEqual([[...prefix.bits.view()], [...prefix.ranks.view()]], [bits, ranks]);
    assert.deepEqual([...prefix.groups.view()], groups);
  }
});

// On both sides of the number from which on they are sorted without being compared.
for (const [width, count, same] of [
  [1, 0, 0],
  [1, 50, 0],
  [1, 5000, 0],
  [4, 50, 0],
  [4, 5000, 0],
  [4, 5000, 2],
] as const) {
  test(`${count} prefixes of ${width * 32} bits, ${same} words of them the same, stand in the order of their keys`, () => {
    const random = generator(count + width);
    const prefixes = new Prefixes(width);
    const words: number[][] = [];
    for (let rank = 0; rank < count; rank++) {
      const address = Array.from({ length: width }, (_, word) =>
        word < same ? 7 : random(3) * 0x7fff0000 + random(40) * 1777,
      );
      words.push(address);
      prefixes.add(address, width * 32 - random(2), rank, random(3));
    }
    const address = Array.from({ length: width * 2 }, (_, index) => prefixes.addressKey(index));
    const group = prefixes.groupKey();
    const halves = (rank: number): number[] =>
      Array.from({ length: width }, (_, word) => prefixes.words.at(rank * width + word)).flatMap((word) => [
        word >>> 16,
        word & 0xffff,
      ]);
    const keyed: [keys: SortKey[], of: (rank: number) => number[]][] = [
      [[], () => []],
      [address, halves],
      [[group, ...address], (rank) => [prefixes.groups.at(rank), ...halves(rank)]],
      [
        [...address.slice(0, 1), group, ...address.slice(1)],
        (rank) => [...halves(rank).slice(0, 1), prefixes.groups.at(rank), ...halves(rank).slice(1)],
      ],
    ];
    for (const [keys, of] of keyed) {
      const weights = words.map((_, rank) => [...of(rank), prefixes.bits.at(rank), rank]);
      const expected = weights.sort(compare).map((weight) => weight.at(-1));
      assert.deepEqual([...prefixes.sorted(keys)], expected);
    }
  });
}

function compare(one: readonly number[], other: readonly number[]): number {
  for (const [place, number] of one.entries()) {
    const difference = number - (other[place] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
