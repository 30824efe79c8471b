/** Texts, `.suffixes` and `prefixes.` in a hash table: the first rule for a name in as many steps as it has dots. */
import { Bytes, Numbers } from "./growing.ts";
import { NONE } from "./ranges.ts";
import { byteString } from "./text.ts";

/** What a text is compared with. */
export const EXACT = 0;
export const SUFFIX = 1;
export const PREFIX = 2;
type Kind = typeof EXACT | typeof SUFFIX | typeof PREFIX;

/** A hash table of texts. Flat, so that it moves between threads for nothing. */
export interface NamesData {
  /** All texts, one after another, lower case. */
  readonly pool: Uint8Array<ArrayBuffer>;
  /** Per text: its place in the pool; its length and form; its rule; its group. */
  readonly entries: Uint32Array<ArrayBuffer>;
  /** Per slot: hash and number of the entry, counted from 1 (0 = free). Their number is a power of two. */
  readonly slots: Uint32Array<ArrayBuffer>;
  /** Per kind of text a bit for each number of dots that some text has; the last one is for 31 and more. */
  readonly dots: Uint32Array<ArrayBuffer>;
  /** Some suffix is digits and dots only, so that an IPv4 address may end in it. */
  readonly hasDigitSuffixes: boolean;
}

const STRIDE = 4;
const DOT = 46;
const COLON = 58;
const START = 0x811c9dc5;
const PRIME = 0x01000193;

/** Collects texts and makes a hash table of them. */
export class NamesBuilder {
  private readonly pool = new Bytes();
  private readonly entries = new Numbers(256);
  private readonly dots = new Uint32Array(3);
  private hasDigitSuffixes = false;

  get length(): number {
    return this.entries.length / STRIDE;
  }

  /**
   * Adds the bytes from `from` up to `to`, which are taken in lower case. Ranks come in ascending order.
   *
   * @param mayBeName false for digits and dots only, which are compared with addresses and never with names
   */
  add(
    bytes: Uint8Array,
    from: number,
    to: number,
    kind: Kind,
    mayBeName: boolean,
    rank: number,
    group: number,
  ): void {
    this.entries.push(this.pool.length);
    this.entries.push(form(to - from, kind, mayBeName));
    this.entries.push(rank);
    this.entries.push(group);
    let dots = 0;
    for (let at = from; at < to; at++) {
      const code = bytes[at] ?? 0;
      if (code === DOT) dots++;
      this.pool.push(lower(code));
    }
    // What is cut back leaves its bit, which costs a look and no more.
    this.dots[kind] = (this.dots[kind] ?? 0) | bitOf(dots);
    this.hasDigitSuffixes ||= kind === SUFFIX && !mayBeName;
  }

  /** Forgets what was added since the length was `length`. */
  cutBack(length: number): void {
    if (length < this.length) this.pool.length = this.entries.at(length * STRIDE);
    this.entries.length = length * STRIDE;
  }

  build(): NamesData {
    const { dots, hasDigitSuffixes } = this;
    const pool = this.pool.toArray();
    const entries = this.entries.toArray();
    let size = 4;
    while (size < this.length * 2) size *= 2;
    const slots = new Uint32Array(size * 2);
    for (let entry = 0; entry < entries.length; entry += STRIDE) place(entry, entries, pool, slots);
    return { pool, entries, slots, dots, hasDigitSuffixes };
  }
}

/** A text that is looked for, with the hashes by which any table finds it: made once, however many tables are asked. */
export interface HashedText {
  /** Lower case. */
  readonly text: string;
  /** For each dot, from the right, where it stands and the hash of what begins there. */
  readonly ends: readonly number[];
  /** The hash of the whole. */
  readonly whole: number;
  /** It is ASCII in lower case and without colon, as names are; found on the way, as one look at each character is dear enough. */
  readonly isPlain: boolean;
}

/** Makes a text ready to be looked for. */
export function hashText(text: string): HashedText {
  const ends: number[] = [];
  let hash = START;
  let isPlain = true;
  for (let at = text.length - 1; at >= 0; at--) {
    const code = text.charCodeAt(at);
    hash = Math.imul(hash ^ code, PRIME);
    if (code === DOT) ends.push(at, hash);
    else if (code === COLON || code > 127 || (code >= 65 && code <= 90)) isPlain = false;
  }
  return { text, ends, whole: hash, isPlain };
}

/**
 * The first rule that a text meets, in one of the groups; NONE if there is none.
 *
 * @param groups says for each group whether it counts
 * @param isName leaves out what is never compared with names
 */
export function findText(names: NamesData, hashed: HashedText, groups: Uint8Array, isName: boolean): number {
  const { text, ends, whole } = hashed;
  const exact = names.dots[EXACT] ?? 0;
  const suffix = names.dots[SUFFIX] ?? 0;
  const prefix = names.dots[PREFIX] ?? 0;
  const dots = ends.length >>> 1;
  let best = NONE;
  if ((exact & bitOf(dots)) !== 0)
    best = probe(names, mix(whole, EXACT), text, 0, text.length, EXACT, groups, isName, best);
  for (let dot = 0; suffix !== 0 && dot < dots; dot++) {
    const at = ends[dot * 2] ?? 0;
    if ((suffix & bitOf(dot + 1)) === 0 || at === 0) continue;
    const hash = mix(ends[dot * 2 + 1] ?? 0, SUFFIX);
    best = probe(names, hash, text, at, text.length, SUFFIX, groups, isName, best);
  }
  return prefix === 0 ? best : findPrefix(names, text, prefix, groups, isName, best);
}

/** The first rule that holds this whole text as a name, in one of the groups; NONE if there is none. `text`: lower case. */
export function findExactName(names: NamesData, text: string, groups: Uint8Array): number {
  let hash = START;
  for (let at = text.length - 1; at >= 0; at--) hash = Math.imul(hash ^ text.charCodeAt(at), PRIME);
  return probe(names, mix(hash, EXACT), text, 0, text.length, EXACT, groups, true, NONE);
}

/** Every whole name that a rule holds, in lower case; some of them twice. */
export function* exactNames({ pool, entries }: NamesData): Generator<string> {
  for (let entry = 0; entry < entries.length; entry += STRIDE) {
    const form = entries[entry + 1] ?? 0;
    if ((form & 3) !== EXACT || (form & 4) === 0) continue;
    const from = entries[entry] ?? 0;
    yield byteString(pool, from, from + (form >>> 3));
  }
}

function findPrefix(
  names: NamesData,
  text: string,
  dotsOfAny: number,
  groups: Uint8Array,
  isName: boolean,
  before: number,
): number {
  let best = before;
  let hash = START;
  let dots = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    hash = Math.imul(hash ^ code, PRIME);
    if (code === DOT && (dotsOfAny & bitOf(++dots)) !== 0)
      best = probe(names, mix(hash, PREFIX), text, 0, at + 1, PREFIX, groups, isName, best);
  }
  return best;
}

function probe(
  { pool, entries, slots }: NamesData,
  hash: number,
  text: string,
  from: number,
  to: number,
  kind: Kind,
  groups: Uint8Array,
  isName: boolean,
  best: number,
): number {
  const mask = slots.length - 1;
  for (let slot = (hash << 1) & mask; ; slot = (slot + 2) & mask) {
    const number = slots[slot + 1] ?? 0;
    if (number === 0) return best;
    if (slots[slot] !== hash) continue;
    const entry = (number - 1) * STRIDE;
    const rank = entries[entry + 2] ?? NONE;
    const form = entries[entry + 1] ?? 0;
    const counts = rank < best && groups[entries[entry + 3] ?? 0] === 1 && (!isName || (form & 4) !== 0);
    if (
      counts &&
      form >>> 3 === to - from &&
      (form & 3) === kind &&
      isAt(pool, entries[entry] ?? 0, text, from, to)
    ) {
      best = rank;
    }
  }
}

/** Puts an entry into the table, unless the same text is there for the same group: the first rule has it. */
function place(entry: number, entries: Uint32Array, pool: Uint8Array, slots: Uint32Array): void {
  const from = entries[entry] ?? 0;
  const form = entries[entry + 1] ?? 0;
  const length = form >>> 3;
  const kind = form & 3;
  let hash = START;
  for (let index = 0; index < length; index++) {
    const code = pool[from + (kind === PREFIX ? index : length - 1 - index)] ?? 0;
    hash = Math.imul(hash ^ code, PRIME);
  }
  hash = mix(hash, kind);
  const mask = slots.length - 1;
  let slot = (hash << 1) & mask;
  for (; slots[slot + 1] !== 0; slot = (slot + 2) & mask) {
    if (slots[slot] !== hash) continue;
    const other = ((slots[slot + 1] ?? 0) - 1) * STRIDE;
    const isSame = entries[other + 1] === form && entries[other + 3] === entries[entry + 3];
    if (isSame && isSameText(pool, entries[other] ?? 0, from, length)) return;
  }
  slots[slot] = hash;
  slots[slot + 1] = entry / STRIDE + 1;
}

/** The bit of a number of dots. */
function bitOf(dots: number): number {
  return 1 << Math.min(dots, 31);
}

function form(length: number, kind: Kind, mayBeName: boolean): number {
  return length * 8 + (mayBeName ? 4 : 0) + kind;
}

/** Spreads the bits, as the lower ones choose the slot. Unsigned. */
function mix(hash: number, kind: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16) ^ kind, 0x7feb352d);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function isAt(pool: Uint8Array, place: number, text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (pool[place + at - from] !== text.charCodeAt(at)) return false;
  return true;
}

function isSameText(pool: Uint8Array, one: number, other: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (pool[one + index] !== pool[other + index]) return false;
  return true;
}

function lower(code: number): number {
  return code >= 65 && code <= 90 ? code + 32 : code;
}
