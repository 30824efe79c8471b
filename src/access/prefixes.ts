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

  /** The numbers of all entries in the order of some keys, the first of which weighs most; of the same ones the wider first. */
  sorted(keys: readonly SortKey[]): Uint32Array {
    const all = [...keys, { values: this.bits, stride: 1, offset: 0, shift: 0 } as const];
    const order = Uint32Array.from({ length: this.length }, (_, index) => index);
    return this.length < WORTH_RADIX ? order.sort(comparing(all)) : sortByRadix(order, all.reverse());
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
function sortByRadix(order: Uint32Array<ArrayBuffer>, keys: readonly SortKey[]): Uint32Array {
  const { length } = order;
  let [from, to] = [order, new Uint32Array(length)];
  const next = new Uint32Array(DIGITS + 1);
  for (const { values, stride, offset, shift } of keys) {
    const numbers = values.view();
    next.fill(0);
    for (let at = offset; at < numbers.length; at += stride) {
      const digit = ((numbers[at] ?? 0) >>> shift) & 0xffff;
      next[digit + 1] = (next[digit + 1] ?? 0) + 1;
    }
    // Where all are the same, which is usual in the upper words of IPv6, their order stays.
    const first = ((numbers[offset] ?? 0) >>> shift) & 0xffff;
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
