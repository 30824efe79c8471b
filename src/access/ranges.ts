/** Address prefixes of one kind as ranges that do not overlap: the first rule for an address in a logarithm of steps. */
import { maskWord, type Words } from "./addresses.ts";
import { Numbers } from "./growing.ts";
import type { Prefixes } from "./prefixes.ts";

/** No rule. The largest number that the engine keeps without a box of its own. */
export const NONE = 0x7fffffff;

/**
 * Where each range begins and which rule comes first in it (NONE for a gap), for each group of rules on its own.
 * Ranges that a rule further up covers have vanished. Flat, so that it moves between threads for nothing.
 */
export interface RangesData {
  /** Beginnings, 1 word (IPv4) or 4 (IPv6) each, ascending within a group. */
  readonly starts: Uint32Array<ArrayBuffer>;
  readonly ranks: Uint32Array<ArrayBuffer>;
  /** Where the ranges of each group begin in `ranks`; one more entry than groups. */
  readonly groups: Uint32Array<ArrayBuffer>;
}

/**
 * Makes ranges of prefixes.
 *
 * @param mostBits leaves out those that are narrower
 */
export function makeRanges(prefixes: Prefixes, groupCount: number, mostBits = 128): RangesData {
  const { width, words, bits, ranks } = prefixes;
  const keys = Array.from({ length: width * 2 }, (_, index) => prefixes.addressKey(index));
  const order = prefixes.sorted([prefixes.groupKey(), ...keys], 0, mostBits);
  const groups = new Uint32Array(groupCount + 1);
  const ranges = new DisjointRanges(width);
  let at = 0;
  for (let group = 0; group < groupCount; group++) {
    groups[group] = ranges.ranks.length;
    ranges.begin();
    for (; at < order.length; at++) {
      const entry = order[at] ?? 0;
      if (prefixes.groups.at(entry) !== group) break;
      ranges.add(words, entry, bits.at(entry), ranks.at(entry));
    }
    ranges.end();
  }
  groups[groupCount] = ranges.ranks.length;
  return { starts: ranges.starts.toArray(), ranks: ranges.ranks.toArray(), groups };
}

/**
 * The first rule of a group whose prefix holds an IPv4 address; NONE if there is none.
 *
 * @param address 0 to 2^32-1
 */
export function findIpv4({ starts, ranks, groups }: RangesData, group: number, address: number): number {
  const first = groups[group] ?? 0;
  let low = first;
  let high = (groups[group + 1] ?? 0) - 1;
  // The last range that begins at or before the address.
  while (low <= high) {
    const middle = (low + high) >>> 1;
    if ((starts[middle] ?? 0) <= address) low = middle + 1;
    else high = middle - 1;
  }
  return high < first ? NONE : (ranks[high] ?? NONE);
}

/** The first rule of a group whose prefix holds an IPv6 address; NONE if there is none. */
export function findIpv6({ starts, ranks, groups }: RangesData, group: number, address: Words): number {
  const first = groups[group] ?? 0;
  let low = first;
  let high = (groups[group + 1] ?? 0) - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    if (beginsAtOrBefore(starts, middle * 4, address)) low = middle + 1;
    else high = middle - 1;
  }
  return high < first ? NONE : (ranks[high] ?? NONE);
}

/**
 * Turns prefixes, sorted and either nested or apart, into ranges: a stack holds those that are open, each with the
 * first rule of all that are open.
 */
export class DisjointRanges {
  readonly starts = new Numbers();
  readonly ranks = new Numbers();
  private readonly width: number;
  /** The last address of each open prefix, `width` words each. */
  private readonly ends = new Numbers();
  private readonly best = new Numbers();
  /** Where the range at hand begins. */
  private readonly start: Uint32Array;
  private first = 0;

  constructor(width: number) {
    this.width = width;
    this.start = new Uint32Array(width);
  }

  /** Forgets all ranges. */
  clear(): void {
    this.starts.length = 0;
    this.ranks.length = 0;
    this.first = 0;
  }

  /** Begins a run of prefixes that has nothing to do with the one before. */
  begin(): void {
    this.first = this.ranks.length;
  }

  /** Adds the prefix that stands at a place of `words`. */
  add(words: Numbers, entry: number, bits: number, rank: number): void {
    const at = entry * this.width;
    while (this.best.length > 0 && this.endsBefore(words, at)) this.close();
    const outer = this.best.length === 0 ? NONE : this.best.at(this.best.length - 1);
    const best = Math.min(rank, outer);
    for (let word = 0; word < this.width; word++) {
      this.ends.push((words.at(at + word) | ~maskWord(bits, word)) >>> 0);
      this.start[word] = words.at(at + word);
    }
    this.best.push(best);
    this.emit(best);
  }

  /** Ends the run. */
  end(): void {
    while (this.best.length > 0) this.close();
  }

  private endsBefore(words: Numbers, at: number): boolean {
    const end = this.ends.length - this.width;
    for (let word = 0; word < this.width; word++) {
      const difference = this.ends.at(end + word) - words.at(at + word);
      if (difference !== 0) return difference < 0;
    }
    return false;
  }

  /** Closes the innermost prefix: what is open around it goes on at the next address. */
  private close(): void {
    const end = this.ends.length - this.width;
    let carry = 1;
    for (let word = this.width - 1; word >= 0; word--) {
      const sum = this.ends.at(end + word) + carry;
      carry = sum > 0xffffffff ? 1 : 0;
      this.start[word] = sum;
    }
    this.ends.length = end;
    this.best.length--;
    // A carry out of the top: the prefix went up to the last address there is.
    if (carry === 0) this.emit(this.best.length === 0 ? NONE : this.best.at(this.best.length - 1));
  }

  private emit(rank: number): void {
    if (this.ranks.length > this.first && this.beginsWhereTheLastDid()) {
      this.ranks.length--;
      this.starts.length -= this.width;
    }
    const before = this.ranks.length > this.first ? this.ranks.at(this.ranks.length - 1) : NONE;
    if (before === rank) return;
    for (let word = 0; word < this.width; word++) this.starts.push(this.start[word] ?? 0);
    this.ranks.push(rank);
  }

  private beginsWhereTheLastDid(): boolean {
    const at = this.starts.length - this.width;
    for (let word = 0; word < this.width; word++)
      if (this.starts.at(at + word) !== this.start[word]) return false;
    return true;
  }
}

function beginsAtOrBefore(starts: Uint32Array, at: number, address: Words): boolean {
  for (let word = 0; word < 4; word++) {
    const difference = (starts[at + word] ?? 0) - (address[word] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return true;
}
