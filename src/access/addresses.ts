/** Numeric addresses as the C library reads them, which is what tables rely on. */
import { isSpace } from "./text.ts";

/** An IPv6 address as four 32-bit words, high to low. */
export type Words = readonly [number, number, number, number];

/** An IPv4 number that inet_addr(3) cannot tell from its error value: 255.255.255.255. */
const INADDR_NONE = 0xffffffff;

const COLON = 58;
const DOT = 46;
/** No character. */
const END = -1;

/**
 * Reads a dotted quad as tcpd does: it counts four runs of text between dots, and leaves the rest to inet_addr(3), for
 * which each part is decimal, octal with a leading 0, or 0x hex, and white space ends the address.
 *
 * @returns 0 to 2^32-2; undefined for anything else, 255.255.255.255 among it, as inet_addr(3) has it.
 */
export function parseQuad(text: string): number | undefined {
  if (runsBetweenDots(text) !== 4) return undefined;
  let upper = 0;
  let at = 0;
  for (let part = 0; part < 4; part++) {
    let end = at;
    while (end < text.length && text[end] !== "." && !isSpace(text.charCodeAt(end))) end++;
    const value = parsePart(text.slice(at, end));
    if (value === undefined) return undefined;
    if (text[end] === ".") {
      if (value > 255) return undefined;
      upper = upper * 256 + value;
      at = end + 1;
      continue;
    }
    // Fewer than four parts: the last one fills all the bytes that are left.
    const room = 2 ** (32 - part * 8);
    const whole = upper * room + value;
    return value >= room || whole === INADDR_NONE ? undefined : whole;
  }
  // A dot behind the fourth part.
  return undefined;
}

/** Takes the `::ffff:` off a dotted IPv4-mapped address; any other text comes back as it is. */
export function unwrapMapped(text: string): string {
  if (text.length < 14 || text.charCodeAt(0) !== 58) return text;
  if (text.slice(0, 7).toLowerCase() !== "::ffff:") return text;
  const quad = text.slice(7);
  return parseQuad(quad) === undefined ? text : quad;
}

/**
 * Reads numeric IPv6 by the rules of inet_pton(3), with an optional `%scope` as getaddrinfo(3) takes it.
 *
 * @param hasInterface says whether an interface of that name exists; only link-local addresses are asked about
 * @returns undefined for what is none; the scope itself is dropped, as the comparison ignores it
 */
export function parseIpv6(text: string, hasInterface: (name: string) => boolean): Words | undefined {
  const percent = text.indexOf("%");
  if (percent < 0) return parseWords(text);
  const words = parseWords(text.slice(0, percent));
  if (words === undefined) return undefined;
  const scope = text.slice(percent + 1);
  const isNumber = /^\d{1,10}$/.test(scope) && Number(scope) <= 0xffffffff;
  return isNumber || (isLinkLocal(words) && scope !== "" && hasInterface(scope)) ? words : undefined;
}

/** The `index`-th word of the mask of a prefix of `bits` bits, as an unsigned number. */
export function maskWord(bits: number, index: number): number {
  const left = bits - index * 32;
  return left >= 32 ? 0xffffffff : left <= 0 ? 0 : (0xffffffff << (32 - left)) >>> 0;
}

function runsBetweenDots(text: string): number {
  let runs = 0;
  let isInRun = false;
  for (let at = 0; at < text.length; at++) {
    const isDot = text.charCodeAt(at) === 46;
    if (!isDot && !isInRun) runs++;
    isInRun = !isDot;
  }
  return runs;
}

function parsePart(part: string): number | undefined {
  if (/^0[xX][0-9a-fA-F]+$/.test(part)) return Number.parseInt(part, 16);
  if (/^0[0-7]*$/.test(part)) return Number.parseInt(part, 8);
  return /^[1-9][0-9]*$/.test(part) ? Number(part) : undefined;
}

function isLinkLocal(words: Words): boolean {
  const high = words[0] >>> 16;
  return (high & 0xffc0) === 0xfe80 || (high & 0xff0f) === 0xff02;
}

/** Character by character, as a decision reads one address and must not take longer than its search. */
function parseWords(text: string): Words | undefined {
  // The longest spelling there is; longer text would only cost time.
  if (text.length > 45) return undefined;
  const groups = [0, 0, 0, 0, 0, 0, 0, 0];
  let count = 0;
  let gap = -1;
  let at = 0;
  if (text.charCodeAt(0) === COLON && text.charCodeAt(1) === COLON) {
    gap = 0;
    at = 2;
  }
  while (at < text.length) {
    const start = at;
    let group = 0;
    for (let digit = hexDigit(text, at); digit >= 0; digit = hexDigit(text, ++at)) group = group * 16 + digit;
    const after = at < text.length ? text.charCodeAt(at) : END;
    if (after === DOT) {
      const quad = parsePlainQuad(text.slice(start));
      if (quad === undefined || count > 6) return undefined;
      groups[count++] = quad >>> 16;
      groups[count++] = quad & 0xffff;
      break;
    }
    if (at === start || at > start + 4 || count === 8) return undefined;
    groups[count++] = group;
    if (after === END) break;
    if (after !== COLON || ++at === text.length) return undefined;
    if (text.charCodeAt(at) !== COLON) continue;
    if (gap >= 0) return undefined;
    gap = count;
    at++;
  }
  if (gap < 0 ? count !== 8 : count === 8) return undefined;
  // What stands behind the gap belongs at the end.
  for (let to = 7, from = count - 1; gap >= 0 && to >= gap; to--, from--)
    groups[to] = from < gap ? 0 : (groups[from] ?? 0);
  return [word(groups, 0), word(groups, 2), word(groups, 4), word(groups, 6)];
}

function word(groups: readonly number[], at: number): number {
  return (groups[at] ?? 0) * 65536 + (groups[at + 1] ?? 0);
}

/** The value of the hex digit at a place; -1 where there is none. */
function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/** inet_pton(3) is stricter with a quad than inet_addr(3): four decimal numbers without leading zeros. */
function parsePlainQuad(text: string): number | undefined {
  if (!/^(?:(?:0|[1-9]\d{0,2})(?:\.(?!$)|$)){4}$/.test(text)) return undefined;
  let value = 0;
  for (const part of text.split(".")) {
    if (Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
}
