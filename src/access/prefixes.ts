/** Address prefixes of one kind as they are collected, a few numbers each, and the order in which they nest. */
import { maskWord } from "./addresses.ts";
import { Numbers } from "./growing.ts";

/** Sixteen bits of each entry by which prefixes are put in order. */
export interface SortKey {
  readonly values: Numbers;
  /** Numbers of each entry, which of them, and how many bits it is shifted. */
  readonly stride: number;
  readonly offset: number;
  readonly shift: 0 | 16;
}

const DIGITS = 65536;

/** Fewer entries are sorted faster by comparing them. */
const WORTH_RADIX = 4096;

/** Collects prefixes. Ranks come in ascending order. */
export class Prefixes {
  /** 32-bit words of an address: 1 (IPv4) or 4 (IPv6). */
  readonly width: 1 | 4;
  readonly words = new Numbers();
  readonly bits = new Numbers();
  readonly ranks = new Numbers();
  readonly groups = new Numbers();

  constructor(width: 1 | 4) {
    this.width = width;
  }

  get length(): number {
    return this.ranks.length;
  }

  /** Adds a prefix; bits of the address below it are taken off. */
  add(address: readonly number[], bits: number, rank: number, group: number): void {
    for (let word = 0; word < this.width; word++)
      this.words.push(((address[word] ?? 0) & maskWord(bits, word)) >>> 0);
    this.push(bits, rank, group);
  }

  /** As `add`, for one word whose lower bits are zero already. */
  addWord(address: number, bits: number, rank: number, group: number): void {
    this.words.push(address);
    this.push(bits, rank, group);
  }

  /** Forgets what was added since the length was `length`. */
  cutBack(length: number): void {
    this.words.length = length * this.width;
    this.bits.length = length;
    this.ranks.length = length;
    this.groups.length = length;
  }

  /** Sixteen bits of the addresses, counted from the highest. */
  addressKey(index: number): SortKey {
    const shift = index % 2 === 0 ? 16 : 0;
    return { values: this.words, stride: this.width, offset: index >> 1, shift };
  }

  groupKey(): SortKey {
    return { values: this.groups, stride: 1, offset: 0, shift: 0 };
  }

  /**
   * The numbers of the entries of some lengths in the order of some keys, the first of which weighs most; of the same ones
   * the wider first.
   */
  sorted(keys: readonly SortKey[], leastBits = 0, mostBits = 128): Uint32Array {
    const all = [...keys, { values: this.bits, stride: 1, offset: 0, shift: 0 } as const];
    const chosen = new Numbers(Math.max(this.length, 1));
    for (let entry = 0; entry < this.length; entry++) {
      const bits = this.bits.at(entry);
      if (bits >= leastBits && bits <= mostBits) chosen.push(entry);
    }
    const entries = chosen.view();
    return entries.length < WORTH_RADIX
      ? entries.sort(comparing(all))
      : sortByRadix(entries, all.toReversed());
  }

  private push(bits: number, rank: number, group: number): void {
    this.bits.push(bits);
    this.ranks.push(rank);
    this.groups.push(group);
  }
}

function comparing(keys: readonly SortKey[]): (one: number, other: number) => number {
  return (one, other) => {
    for (const key of keys) {
      const difference = digitOf(key, one) - digitOf(key, other);
      if (difference !== 0) return difference;
    }
    return 0;
  };
}

function digitOf({ values, stride, offset, shift }: SortKey, entry: number): number {
  return (values.at(entry * stride + offset) >>> shift) & 0xffff;
}

/** Time grows with the number of entries only. The last key weighs most. */
function sortByRadix(entries: Uint32Array, keys: readonly SortKey[]): Uint32Array {
  const { length } = entries;
  let [from, to] = [entries.slice(), new Uint32Array(length)];
  const next = new Uint32Array(DIGITS + 1);
  for (const { values, stride, offset, shift } of keys) {
    const numbers = values.view();
    next.fill(0);
    // In the order in which they were added, which is how they lie in the memory.
    for (let index = 0; index < length; index++) {
      const digit = ((numbers[(entries[index] ?? 0) * stride + offset] ?? 0) >>> shift) & 0xffff;
      next[digit + 1] = (next[digit + 1] ?? 0) + 1;
    }
    // Where all are the same, which is usual in the upper words of IPv6, their order stays.
    const first = ((numbers[(entries[0] ?? 0) * stride + offset] ?? 0) >>> shift) & 0xffff;
    if (next[first + 1] === length) continue;
    for (let digit = 0; digit < DIGITS; digit++)
      next[digit + 1] = (next[digit + 1] ?? 0) + (next[digit] ?? 0);
    for (let index = 0; index < length; index++) {
      const entry = from[index] ?? 0;
      const digit = ((numbers[entry * stride + offset] ?? 0) >>> shift) & 0xffff;
      const place = next[digit] ?? 0;
      to[place] = entry;
      next[digit] = place + 1;
    }
    [from, to] = [to, from];
  }
  return from;
}
