/** Host patterns in an index: which rule comes first for an address, for a name, and which first wants to know the name. */
import { maskWord, parseIpv6, type Words } from "./addresses.ts";
import { subject, type HasInterface, type HostPattern } from "./pattern.ts";
import { EXACT, findText, hashText, NamesBuilder, PREFIX, SUFFIX, type NamesData } from "./names.ts";
import { BLOCK_BITS, type BlocksData, findInBlock, makeBlocks, NO_BLOCKS } from "./blocks.ts";
import { Prefixes } from "./prefixes.ts";
import { findIpv4, findIpv6, makeRanges, NONE, type RangesData } from "./ranges.ts";
import { Numbers } from "./growing.ts";
import { byteString } from "./text.ts";

/** The index of a table or of a `/file`. A rank is the number of a rule, or of a word in a file. Flat. */
export interface HostIndex {
  readonly ipv4: RangesData;
  /** The narrower prefixes of IPv4, where there are many. */
  readonly blocks: BlocksData;
  readonly ipv6: RangesData;
  readonly names: NamesData;
  /** Per group, the first rank that holds ALL. */
  readonly firstAll: Uint32Array<ArrayBuffer>;
  /** Per group, the first rank that compares the client's name when its address does not match. */
  readonly firstAsking: Uint32Array<ArrayBuffer>;
}

/** An address made ready for the index. */
export interface IndexedAddress {
  /** Lower case, an IPv4-mapped one unwrapped. */
  readonly text: string;
  /** The IPv4 address as a number; -1 where it is none. */
  readonly quad: number;
  readonly words: Words | undefined;
}

/** Reads a word; absent where it is none that an index may hold. */
type ParseWord = (word: string, hasInterface: HasInterface) => HostPattern | undefined;

/** A place to come back to. */
interface Mark {
  readonly ipv4: number;
  readonly ipv6: number;
  readonly names: number;
  readonly firstAll: number;
  readonly firstAsking: number;
}

const LETTER = 1;
const DIGIT = 2;
const NAME_DOT = 4;
/** What a byte may be in a plain name: letter (`-` and `_` too), digit, dot; 0 for all others. */
const CLASSES = Uint8Array.from({ length: 256 }, (_, code) => {
  const char = String.fromCharCode(code);
  return /[A-Za-z_-]/.test(char) ? LETTER : /[0-9]/.test(char) ? DIGIT : char === "." ? NAME_DOT : 0;
});

/** Fewer prefixes are found as fast without blocks, which take a quarter of a megabyte. */
const WORTH_BLOCKS = 4096;

/** The longest reserved word; a plain name that is longer cannot be one. */
const LONGEST_WORD = 6;

/** Takes words in the order of their rules. */
export class HostIndexBuilder {
  private readonly ipv4 = new Prefixes(1);
  private readonly ipv6 = new Prefixes(4);
  private readonly names = new NamesBuilder();
  private readonly firstAll = new Numbers();
  private readonly firstAsking = new Numbers();
  private readonly parse: ParseWord;
  private readonly hasInterface: HasInterface;

  constructor(parse: ParseWord, hasInterface: HasInterface) {
    this.parse = parse;
    this.hasInterface = hasInterface;
  }

  /** Opens one more group. Groups are counted from 0. */
  addGroup(): void {
    this.firstAll.push(NONE);
    this.firstAsking.push(NONE);
  }

  /** Where the index stands, to come back to when a later word of the same rule cannot be held. */
  mark(group: number): Mark {
    return {
      ipv4: this.ipv4.length,
      ipv6: this.ipv6.length,
      names: this.names.length,
      firstAll: this.firstAll.at(group),
      firstAsking: this.firstAsking.at(group),
    };
  }

  cutBack(mark: Mark, group: number): void {
    this.ipv4.cutBack(mark.ipv4);
    this.ipv6.cutBack(mark.ipv6);
    this.names.cutBack(mark.names);
    this.firstAll.set(group, mark.firstAll);
    this.firstAsking.set(group, mark.firstAsking);
  }

  /** Adds the word from `from` up to `to`. False where the index cannot hold it: it is to be asked one by one. */
  add(bytes: Uint8Array, from: number, to: number, rank: number, group: number): boolean {
    const first = CLASSES[bytes[from] ?? 0] ?? 0;
    if (first === DIGIT && this.addQuad(bytes, from, to, rank, group)) return true;
    if (first !== 0 && first !== DIGIT && this.addName(bytes, from, to, rank, group)) return true;
    const pattern = this.parse(byteString(bytes, from, to), this.hasInterface);
    return pattern !== undefined && this.addPattern(pattern, bytes, from, to, rank, group);
  }

  build(): HostIndex {
    const groups = this.firstAll.length;
    const isLarge = this.ipv4.length >= WORTH_BLOCKS;
    return {
      ipv4: makeRanges(this.ipv4, groups, isLarge ? BLOCK_BITS - 1 : 32),
      blocks: isLarge ? makeBlocks(this.ipv4) : NO_BLOCKS,
      ipv6: makeRanges(this.ipv6, groups),
      names: this.names.build(),
      firstAll: this.firstAll.toArray(),
      firstAsking: this.firstAsking.toArray(),
    };
  }

  /** The usual spellings, read off the bytes: `n.n.n.n`, `n.n.n.n/len`, `n.n.`. False for every other one. */
  private addQuad(bytes: Uint8Array, from: number, to: number, rank: number, group: number): boolean {
    let value = 0;
    let parts = 0;
    let at = from;
    for (; parts < 4; parts++) {
      const start = at;
      let part = 0;
      for (; at < to && CLASSES[bytes[at] ?? 0] === DIGIT; at++) part = part * 10 + (bytes[at] ?? 0) - 48;
      // A leading zero means octal in a net and plain text elsewhere.
      if (at === start || part > 255 || (at > start + 1 && bytes[start] === 48)) return false;
      value = value * 256 + part;
      if (parts === 3) break;
      if (bytes[at++] !== 46 || at > to) return false;
      if (at === to) {
        const bits = (parts + 1) * 8;
        this.ipv4.addWord((value << (32 - bits)) >>> 0, bits, rank, group);
        return true;
      }
    }
    if (at === to) {
      this.ipv4.addWord(value, 32, rank, group);
      return true;
    }
    const bits = bytes[at] === 47 ? twoDigits(bytes, at + 1, to) : 0;
    return (
      bits >= 1 && bits <= 32 && value !== 0xffffffff && this.addNet4(value, maskWord(bits, 0), rank, group)
    );
  }

  /** A plain name, `.suffix` or `prefix.` of letters, digits, `-`, `_` and dots. False for every other word. */
  private addName(bytes: Uint8Array, from: number, to: number, rank: number, group: number): boolean {
    if (to - from <= LONGEST_WORD) return false;
    let seen = 0;
    for (let at = from; at < to; at++) {
      const kind = CLASSES[bytes[at] ?? 0] ?? 0;
      if (kind === 0) return false;
      seen |= kind;
    }
    if ((seen & LETTER) === 0) return false;
    const kind = bytes[from] === 46 ? SUFFIX : bytes[to - 1] === 46 ? PREFIX : EXACT;
    this.names.add(bytes, from, to, kind, true, rank, group);
    this.firstAsking.lowerTo(group, rank);
    return true;
  }

  private addPattern(
    pattern: HostPattern,
    bytes: Uint8Array,
    from: number,
    to: number,
    rank: number,
    group: number,
  ): boolean {
    switch (pattern.kind) {
      case "dead":
        return true;
      case "net4":
        return this.addNet4(pattern.net, pattern.mask, rank, group);
      case "net6":
        this.ipv6.add(pattern.net, pattern.bits, rank, group);
        return true;
      case "text":
        break;
      case "netgroup":
      case "file":
      case "KNOWN":
      case "LOCAL":
        return false;
    }
    const { pattern: text, mayBeName } = pattern;
    if (text.kind === "glob" || text.kind === "known") return false;
    if (text.kind === "all") this.firstAll.lowerTo(group, rank);
    else if (mayBeName) this.firstAsking.lowerTo(group, rank);
    if (text.kind === "ipv6") this.ipv6.add(text.words, 128, rank, group);
    if (text.kind === "suffix") this.names.add(bytes, from, to, SUFFIX, mayBeName, rank, group);
    // Digits and dots that are no usual spelling match no address in its canonical form.
    if (text.kind === "exact" && mayBeName) this.names.add(bytes, from, to, EXACT, true, rank, group);
    if (text.kind === "prefix" && mayBeName) this.names.add(bytes, from, to, PREFIX, true, rank, group);
    return true;
  }

  /** False for a mask with holes. A net with bits below its mask matches nothing, so there is nothing to hold. */
  private addNet4(net: number, mask: number, rank: number, group: number): boolean {
    if ((net & ~mask) !== 0) return true;
    const host = ~mask >>> 0;
    if ((host & (host + 1)) !== 0) return false;
    this.ipv4.addWord(net, Math.clz32(host), rank, group);
    return true;
  }
}

/** Makes an address ready, as it came; undefined where it is in no usual form, so that no index knows it. */
export function indexedAddress(address: string): IndexedAddress | undefined {
  // Most are dotted quads, and one look tells.
  const usual = usualQuad(address);
  if (usual >= 0) return { text: address, quad: usual, words: undefined };
  const text = subject(address);
  const quad = usualQuad(text);
  if (quad >= 0) return { text, quad, words: undefined };
  const words = parseIpv6(text, anyInterface);
  return words === undefined && text !== "unknown" ? undefined : { text, quad, words };
}

/**
 * The first rank in one of the groups that an address matches; NONE if there is none.
 *
 * @param groups the groups that count
 * @param flags the same, as a 1 for each
 */
export function findAddress(
  index: HostIndex,
  { text, quad, words }: IndexedAddress,
  groups: readonly number[],
  flags: Uint8Array,
): number {
  let best = NONE;
  for (const group of groups) {
    best = Math.min(best, index.firstAll[group] ?? NONE);
    if (quad >= 0) best = Math.min(best, findIpv4(index.ipv4, group, quad));
    else if (words !== undefined) best = Math.min(best, findIpv6(index.ipv6, group, words));
  }
  if (quad >= 0) best = Math.min(best, findInBlock(index.blocks, quad, flags));
  const mayEndInText = quad < 0 || index.names.hasDigitSuffixes;
  return mayEndInText ? Math.min(best, findText(index.names, hashText(text), flags, false)) : best;
}

/** The first rank in one of the groups that asks for the name of a client whose address it does not match. */
export function findAsking(index: HostIndex, groups: readonly number[]): number {
  let best = NONE;
  for (const group of groups) best = Math.min(best, index.firstAsking[group] ?? NONE);
  return best;
}

function anyInterface(): boolean {
  return true;
}

/** A number of one or two digits that ends where the word ends; 0 for anything else. */
function twoDigits(bytes: Uint8Array, from: number, to: number): number {
  if (to - from > 2) return 0;
  let value = 0;
  for (let at = from; at < to; at++) {
    if (CLASSES[bytes[at] ?? 0] !== DIGIT) return 0;
    value = value * 10 + (bytes[at] ?? 0) - 48;
  }
  return value;
}

/** A dotted quad in its usual spelling as a number; -1 for any other text, and for 255.255.255.255 as in `parseQuad`. */
function usualQuad(text: string): number {
  let value = 0;
  let part = 0;
  let digits = 0;
  let dots = 0;
  if (text.length > 15) return -1;
  for (let at = 0; at <= text.length; at++) {
    const code = at === text.length ? 46 : text.charCodeAt(at);
    if (code === 46) {
      if (digits === 0 || part > 255) return -1;
      value = value * 256 + part;
      dots++;
      part = 0;
      digits = 0;
    } else if (code >= 48 && code <= 57) {
      if (digits > 0 && part === 0) return -1;
      part = part * 10 + code - 48;
      digits++;
    } else {
      return -1;
    }
  }
  return dots === 4 && value !== 0xffffffff ? value : -1;
}
