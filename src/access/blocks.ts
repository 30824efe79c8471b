/** Many IPv4 prefixes by the upper 16 bits of an address: whatever one decision reads of them lies in one place. */
import { Numbers } from "./growing.ts";
import type { Prefixes } from "./prefixes.ts";
import { DisjointRanges, NONE } from "./ranges.ts";

/**
 * Prefixes of `BLOCK_BITS` bits and more. A block holds all addresses with the same upper 16 bits, for all groups.
 * Flat, so that it moves between threads for nothing.
 */
export interface BlocksData {
  /** Where each block begins in `cells`; one more entry than blocks. Empty where there are no prefixes. */
  readonly blocks: Uint32Array<ArrayBuffer>;
  /**
   * A block has a part for each group that it knows: the group, the place behind the part, and two numbers for each range
   * of addresses, ascending: the lower 16 bits of its first address and, above them, of its last one; its first rule.
   */
  readonly cells: Uint32Array<ArrayBuffer>;
}

/** Bits that are the same in a block. */
export const BLOCK_BITS = 16;
const BLOCKS = 65536;

/** Two numbers before the ranges of a part. */
const HEAD = 2;

/** So few ranges are looked at one after another: they lie in a line or two of the processor's cache. */
const FEW = 16;

/** No prefixes. */
export const NO_BLOCKS: BlocksData = { blocks: new Uint32Array(), cells: new Uint32Array() };

/** Makes blocks of the prefixes that are narrow enough to lie in one. */
export function makeBlocks(prefixes: Prefixes): BlocksData {
  const { words, bits, groups, ranks } = prefixes;
  const keys = [prefixes.addressKey(0), prefixes.groupKey(), prefixes.addressKey(1)];
  const order = prefixes.sorted(keys, BLOCK_BITS, 32);
  const blocks = new Uint32Array(BLOCKS + 1);
  const cells = new Numbers();
  const ranges = new DisjointRanges(1);
  let at = 0;
  for (let block = 0; block < BLOCKS; block++) {
    blocks[block] = cells.length;
    while (at < order.length && words.at(order[at] ?? 0) >>> 16 === block) {
      const group = groups.at(order[at] ?? 0);
      ranges.clear();
      for (; at < order.length; at++) {
        const entry = order[at] ?? 0;
        if (groups.at(entry) !== group || words.at(entry) >>> 16 !== block) break;
        ranges.add(words, entry, bits.at(entry), ranks.at(entry));
      }
      ranges.end();
      writePart(cells, group, ranges);
    }
  }
  blocks[BLOCKS] = cells.length;
  return { blocks, cells: cells.toArray() };
}

/**
 * The first rule whose prefix holds an IPv4 address; NONE if there is none.
 *
 * @param address 0 to 2^32-1
 * @param flags a 1 for each group that counts
 */
export function findInBlock({ blocks, cells }: BlocksData, address: number, flags: Uint8Array): number {
  if (blocks.length === 0) return NONE;
  const block = address >>> 16;
  const low = address & 0xffff;
  const end = blocks[block + 1] ?? 0;
  let best = NONE;
  for (let part = blocks[block] ?? 0; part < end; part = cells[part + 1] ?? end) {
    if (flags[cells[part] ?? 0] === 1)
      best = Math.min(best, findInPart(cells, part + HEAD, cells[part + 1] ?? end, low));
  }
  return best;
}

function findInPart(cells: Uint32Array, from: number, to: number, low: number): number {
  let first = from;
  // The last range that begins at or before the address.
  for (let count = (to - from) >>> 1; count > FEW;) {
    const half = count >>> 1;
    if (((cells[first + half * 2] ?? 0) & 0xffff) <= low) first += half * 2;
    count -= half;
  }
  let rank = NONE;
  for (let at = first; at < to; at += 2) {
    const range = cells[at] ?? 0;
    if ((range & 0xffff) > low) break;
    rank = range >>> 16 >= low ? (cells[at + 1] ?? NONE) : NONE;
  }
  return rank;
}

function writePart(cells: Numbers, group: number, { starts, ranks }: DisjointRanges): void {
  if (ranks.length === 0) return;
  const head = cells.length;
  cells.push(group);
  cells.push(0);
  for (let range = 0; range < ranks.length; range++) {
    if (ranks.at(range) === NONE) continue;
    // The last range ends where the block does, or has a gap behind it.
    const last = range + 1 < ranks.length ? starts.at(range + 1) - 1 : 0xffff;
    cells.push(((starts.at(range) & 0xffff) | ((last & 0xffff) << 16)) >>> 0);
    cells.push(ranks.at(range));
  }
  cells.set(head + 1, cells.length);
}
