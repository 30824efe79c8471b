/** Address prefixes of one kind as ranges that do not overlap: the first rule for an address in a logarithm of steps. */
import { maskWord, type Words } from "./addresses.ts";
import { Numbers } from "./growing.ts";

/** No rule. The largest number that the engine keeps without a box of its own. */
export const NONE = 0x7fffffff;

/**
 * Where each range begins and which rule comes first in it (NONE for a gap), for each group of rules on its own.
 * Ranges that a rule further up covers have vanished. Flat, so that it moves between threads for nothing.
 */
export interface RangesData {
  /** 32-bit words of an address: 1 (IPv4) or 4 (IPv6). */
  readonly width: 1 | 4;
  /** Beginnings, `width` words each, ascending within a group. */
  readonly starts: Uint32Array<ArrayBuffer>;
  readonly ranks: Uint32Array<ArrayBuffer>;
  /** Where the ranges of each group begin in `ranks`; one more entry than groups. */
  readonly groups: Uint32Array<ArrayBuffer>;
  /** For each group, the place in `buckets` where its table by the upper 16 bits begins; NONE = it has none. */
  readonly bucketsOf: Uint32Array<ArrayBuffer>;
  /** For each value of the upper 16 bits, the last range that begins at or before it. */
  readonly buckets: Uint32Array<ArrayBuffer>;
}

/** A group with fewer ranges is searched without a table by the upper 16 bits. */
const WORTH_BUCKETS = 4096;
const BUCKETS = 65536;

/** Fewer entries are sorted faster by comparing them. */
const WORTH_RADIX = 4096;

/** Collects prefixes and makes ranges of them. */
export class RangesBuilder {
  readonly width: 1 | 4;
  private readonly words = new Numbers();
  private readonly bits = new Numbers();
  private readonly ranks = new Numbers();
  private readonly groups = new Numbers();

  constructor(width: 1 | 4) {
    this.width = width;
  }

  get length(): number {
    return this.ranks.length;
  }

  /** Adds a prefix; bits of the address below it are taken off. Ranks come in ascending order. */
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

  build(groupCount: number): RangesData {
    const { width } = this;
    const order = this.sorted();
    const groups = new Uint32Array(groupCount + 1);
    const output = new Output(width);
    let at = 0;
    for (let group = 0; group < groupCount; group++) {
      groups[group] = output.ranks.length;
      output.startGroup();
      for (; at < order.length; at++) {
        const entry = order[at] ?? 0;
        if (this.groups.at(entry) !== group) break;
        output.add(this.words, entry, this.bits.at(entry), this.ranks.at(entry));
      }
      output.endGroup();
    }
    groups[groupCount] = output.ranks.length;
    const starts = output.starts.toArray();
    return { width, starts, ranks: output.ranks.toArray(), groups, ...makeBuckets(width, starts, groups) };
  }

  private push(bits: number, rank: number, group: number): void {
    this.bits.push(bits);
    this.ranks.push(rank);
    this.groups.push(group);
  }

  /** Entries by group, then address, then the wider prefix first. */
  private sorted(): Uint32Array {
    return this.length < WORTH_RADIX ? this.sortedByComparing() : this.sortedByRadix();
  }

  private sortedByComparing(): Uint32Array {
    const { width } = this;
    return Uint32Array.from({ length: this.length }, (_, index) => index).sort((one, other) => {
      let difference = this.groups.at(one) - this.groups.at(other);
      for (let word = 0; word < width && difference === 0; word++) {
        difference = this.words.at(one * width + word) - this.words.at(other * width + word);
      }
      return difference === 0 ? this.bits.at(one) - this.bits.at(other) : difference;
    });
  }

  /** Time grows with the number of entries only. */
  private sortedByRadix(): Uint32Array {
    const { width, length } = this;
    let order = new Uint32Array(length);
    for (let index = 0; index < length; index++) order[index] = index;
    let spare = new Uint32Array(length);
    const next = new Uint32Array(BUCKETS + 1);
    const pass = (keys: Numbers, stride: number, offset: number, shift: number): void => {
      next.fill(0);
      const values = keys.view();
      for (let at = offset; at < values.length; at += stride) {
        const key = ((values[at] ?? 0) >>> shift) & 0xffff;
        next[key + 1] = (next[key + 1] ?? 0) + 1;
      }
      for (let key = 0; key < BUCKETS; key++) next[key + 1] = (next[key + 1] ?? 0) + (next[key] ?? 0);
      for (let index = 0; index < length; index++) {
        const entry = order[index] ?? 0;
        const key = ((values[entry * stride + offset] ?? 0) >>> shift) & 0xffff;
        const place = next[key] ?? 0;
        spare[place] = entry;
        next[key] = place + 1;
      }
      [order, spare] = [spare, order];
    };
    pass(this.bits, 1, 0, 0);
    for (let word = width - 1; word >= 0; word--) {
      pass(this.words, width, word, 0);
      pass(this.words, width, word, 16);
    }
    pass(this.groups, 1, 0, 0);
    return order;
  }
}

/**
 * The first rule of a group whose prefix holds an IPv4 address; NONE if there is none.
 *
 * @param address 0 to 2^32-1
 */
export function findIpv4(
  { starts, ranks, groups, bucketsOf, buckets }: RangesData,
  group: number,
  address: number,
): number {
  let low = groups[group] ?? 0;
  let high = (groups[group + 1] ?? 0) - 1;
  const first = low;
  const table = bucketsOf[group] ?? NONE;
  if (table !== NONE) {
    const bucket = table + (address >>> 16);
    low = buckets[bucket] ?? low;
    high = buckets[bucket + 1] ?? high;
  }
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
  let low = groups[group] ?? 0;
  let high = (groups[group + 1] ?? 0) - 1;
  const first = low;
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
class Output {
  readonly starts = new Numbers();
  readonly ranks = new Numbers();
  private readonly width: number;
  /** The last address of each open prefix, `width` words each. */
  private readonly ends = new Numbers();
  private readonly best = new Numbers();
  /** Where the range at hand begins. */
  private readonly start: Uint32Array;
  private groupStart = 0;

  constructor(width: number) {
    this.width = width;
    this.start = new Uint32Array(width);
  }

  startGroup(): void {
    this.groupStart = this.ranks.length;
  }

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

  endGroup(): void {
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
    if (this.ranks.length > this.groupStart && this.beginsWhereTheLastDid()) {
      this.ranks.length--;
      this.starts.length -= this.width;
    }
    const before = this.ranks.length > this.groupStart ? this.ranks.at(this.ranks.length - 1) : NONE;
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

function makeBuckets(
  width: number,
  starts: Uint32Array,
  groups: Uint32Array,
): Pick<RangesData, "bucketsOf" | "buckets"> {
  const bucketsOf = new Uint32Array(groups.length - 1).fill(NONE);
  const buckets = new Numbers();
  for (let group = 0; group < bucketsOf.length; group++) {
    const first = groups[group] ?? 0;
    const end = groups[group + 1] ?? 0;
    if (width !== 1 || end - first < WORTH_BUCKETS) continue;
    bucketsOf[group] = buckets.length;
    let at = first;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      while (at < end && (starts[at] ?? 0) < bucket * 65536) at++;
      // The range that begins before the bucket reaches into it.
      buckets.push(Math.max(first, at - 1));
    }
    buckets.push(end - 1);
  }
  return { bucketsOf, buckets: buckets.toArray() };
}

function beginsAtOrBefore(starts: Uint32Array, at: number, address: Words): boolean {
  for (let word = 0; word < 4; word++) {
    const difference = (starts[at + word] ?? 0) - (address[word] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return true;
}
