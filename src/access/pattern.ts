/** One pattern of a list against one endpoint, daemon or user. */
import { asBytes, indexOutsideBrackets, lowerCase } from "./text.ts";
import { atoi, wholeUnsigned } from "./numbers.ts";
import { maskWord, parseIpv6, parseQuad, unwrapMapped, type Words } from "./addresses.ts";

/** A pattern for a string: a daemon's name, a user, a host name, the text of an address. Lower case. */
export type TextPattern =
  | { readonly kind: "exact"; readonly text: string }
  | { readonly kind: "suffix"; readonly text: string }
  | { readonly kind: "prefix"; readonly text: string }
  | { readonly kind: "glob"; readonly text: string }
  | { readonly kind: "ipv6"; readonly words: Words }
  | { readonly kind: "all" }
  /** Anything but "unknown". */
  | { readonly kind: "known" }
  | { readonly kind: "never" };

/** A pattern for an endpoint: a client, or the local address that it reached. */
export type HostPattern =
  | { readonly kind: "netgroup"; readonly group: string }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "KNOWN" }
  | { readonly kind: "LOCAL" }
  | { readonly kind: "net4"; readonly net: number; readonly mask: number }
  | { readonly kind: "net6"; readonly net: Words; readonly bits: number }
  /** A net/mask that can match nothing; the checker tells, the decision is silent as tcpd's is. */
  | { readonly kind: "dead" }
  /** Compared with the address and, unless it is all digits and dots, with the name. */
  | { readonly kind: "text"; readonly pattern: TextPattern; readonly mayBeName: boolean };

/** A word of a daemon list. `left` is a port number of the local socket, or a pattern for the daemon's name. */
export interface DaemonPattern {
  readonly left: number | TextPattern;
  readonly server?: HostPattern;
}

/** A word of a client list. */
export interface ClientPattern {
  readonly host: HostPattern;
  readonly user?: TextPattern;
}

/** Says whether a network interface of that name exists: a scope id in a pattern must name one. */
export type HasInterface = (name: string) => boolean;

const ONLY_ADDRESS = /^[0-9./]*$/;
const MAX_PORT = 65535;

/** Reads a word of a daemon list: `daemon`, `port`, `daemon@server`, `port@server`. Source: hosts_access(5). */
export function parseDaemon(word: string, hasInterface: HasInterface): DaemonPattern {
  const split = indexOutsideBrackets(word, "@", 1);
  const name = split < 0 ? word : word.slice(0, split);
  const port = wholeUnsigned(name);
  const left = port !== undefined && port <= MAX_PORT ? port : parseText(name, hasInterface);
  return split < 0 ? { left } : { left, server: parseHost(word.slice(split + 1), hasInterface) };
}

/** Reads a word of a client list: `host` or `user@host`. Source: hosts_access(5). */
export function parseClient(word: string, hasInterface: HasInterface): ClientPattern {
  const split = indexOutsideBrackets(word, "@", 1);
  if (split < 0) return { host: parseHost(word, hasInterface) };
  return {
    host: parseHost(word.slice(split + 1), hasInterface),
    user: parseText(word.slice(0, split), hasInterface),
  };
}

/** Reads a host pattern; also each word of a `/file`. The order of the questions is tcpd's. */
export function parseHost(word: string, hasInterface: HasInterface): HostPattern {
  if (word.startsWith("@")) return { kind: "netgroup", group: word.slice(1) };
  if (word.startsWith("/")) return { kind: "file", path: word };
  const upper = word.toUpperCase();
  if (upper === "KNOWN") return { kind: "KNOWN" };
  if (upper === "LOCAL") return { kind: "LOCAL" };
  const slash = indexOutsideBrackets(word, "/");
  if (slash >= 0) return parseNet(word.slice(0, slash), word.slice(slash + 1), hasInterface);
  return { kind: "text", pattern: parseText(word, hasInterface), mayBeName: !ONLY_ADDRESS.test(word) };
}

/** Reads a pattern for a string: wildcards first, then `.suffix`, the words, `prefix.`, `[v6]`, plain text. */
export function parseText(word: string, hasInterface: HasInterface): TextPattern {
  const text = lowerCase(word);
  if (/[*?]/.test(text)) return { kind: "glob", text: oneStarEach(text) };
  if (text.startsWith(".")) return { kind: "suffix", text };
  if (text === "all") return { kind: "all" };
  if (text === "known") return { kind: "known" };
  if (text.endsWith(".")) return { kind: "prefix", text };
  if (!text.startsWith("[") || !text.endsWith("]")) return { kind: "exact", text };
  const words = parseIpv6(word.slice(1, -1), hasInterface);
  return words === undefined ? { kind: "never" } : { kind: "ipv6", words };
}

/**
 * Does a string match? The client's own scope id is ignored.
 *
 * @param text lower case, an IPv4-mapped address already unwrapped (see `subject`)
 */
export function matchText(pattern: TextPattern, text: string): boolean {
  switch (pattern.kind) {
    case "exact":
      return text === pattern.text;
    case "suffix":
      return text.length > pattern.text.length && text.endsWith(pattern.text);
    case "prefix":
      return text.startsWith(pattern.text);
    case "glob":
      return matchGlob(pattern.text, text);
    case "ipv6":
      return sameWords(pattern.words, parseIpv6(text, anyInterface));
    case "all":
      return true;
    case "known":
      return text !== "unknown";
    case "never":
  }
  return false;
}

/** An ordinary string made ready for `matchText`. Most are ready, and one look tells. */
export function subject(text: string): string {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 127 || (code >= 65 && code <= 90)) return lowerCase(unwrapMapped(asBytes(text)));
  }
  return unwrapMapped(text);
}

/** Does an IPv4 address, as a number, lie in the net? The net is taken as written: with host bits set it matches nothing. */
export function matchNet4(net: number, mask: number, address: number): boolean {
  return (address & mask) >>> 0 === net;
}

/** Does an IPv6 address lie in the net? Both sides are masked. */
export function matchNet6(net: Words, bits: number, address: Words): boolean {
  for (let index = 0; index < 4; index++) {
    if ((((net[index] ?? 0) ^ (address[index] ?? 0)) & maskWord(bits, index)) !== 0) return false;
  }
  return true;
}

/**
 * Whole-text match of `*` (any run) and `?` (one character). What stands between two stars is taken where it comes first and never
 * looked for again, and what stands behind the last one has one place: time is linear in the number of stars. Only a long piece
 * between two of them can cost as much as its length times that of the text, which is a name or a user of a few hundred bytes.
 */
export function matchGlob(pattern: string, text: string): boolean {
  let at = 0;
  let inPattern = 0;
  let star = -1;
  let resume = 0;
  for (;;) {
    const wanted = pattern[inPattern];
    if (wanted === "*") {
      star = inPattern++;
      resume = at;
      if (pattern.includes("*", inPattern)) continue;
      star = -1;
      at = text.length - (pattern.length - inPattern);
      if (at < resume) return false;
    } else if (at < text.length && wanted !== undefined && (wanted === "?" || wanted === text[at])) {
      inPattern++;
      at++;
    } else if (at >= text.length && wanted === undefined) {
      return true;
    } else {
      if (star < 0 || resume >= text.length) return false;
      at = ++resume;
      inPattern = star + 1;
    }
  }
}

function parseNet(net: string, mask: string, hasInterface: HasInterface): HostPattern {
  if (net.startsWith("[") && net.endsWith("]")) {
    const words = parseIpv6(net.slice(1, -1), hasInterface);
    const bits = atoi(mask);
    return words === undefined || bits < 0 || bits > 128
      ? { kind: "dead" }
      : { kind: "net6", net: words, bits };
  }
  const quad = parseQuad(net);
  if (quad === undefined) return { kind: "dead" };
  const written = parseQuad(mask);
  if (written !== undefined) return { kind: "net4", net: quad, mask: written };
  const bits = atoi(mask);
  return bits < 1 || bits > 32 ? { kind: "dead" } : { kind: "net4", net: quad, mask: maskWord(bits, 0) };
}

/** A run of stars is one star; at the end of a pattern tcpd wants one character more: `client**` is not `client`. */
function oneStarEach(text: string): string {
  const plain = text.replace(/\*+/g, "*");
  return text.endsWith("**") ? `${plain.slice(0, -1)}?*` : plain;
}

function sameWords(left: Words, right: Words | undefined): boolean {
  return right !== undefined && left.every((word, index) => word === right[index]);
}

function anyInterface(): boolean {
  return true;
}
