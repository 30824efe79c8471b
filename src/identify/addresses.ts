/** Numeric addresses as text: one canonical spelling, and the questions that names are asked with. */

import { isIP, isIPv4, SocketAddress } from "node:net";

export type Family = 4 | 6;

/** One address, taken apart. */
export interface Address {
  readonly family: Family;
  /** Canonical text without zone: lower case, compressed; an IPv4-mapped address is the IPv4 address in it. */
  readonly text: string;
  /** The interface of a link-local address, such as "eth0". */
  readonly zone?: string;
}

/**
 * Reads an address. Only full spellings count: four decimal parts without leading zeros, or IPv6 text.
 *
 * @returns undefined where the text is no address
 */
export function parseAddress(text: string): Address | undefined {
  const [bare = "", zone] = text.split("%", 2);
  const family = isIP(bare);
  if (family === 4) return zone === undefined ? { family: 4, text: bare } : undefined;
  if (family !== 6 || zone === "") return undefined;
  const canonical = new SocketAddress({ address: bare, family: "ipv6" }).address;
  const mapped = canonical.startsWith("::ffff:") ? canonical.slice("::ffff:".length) : "";
  if (isIPv4(mapped)) return { family: 4, text: mapped };
  return { family: 6, text: canonical, ...(zone !== undefined && { zone }) };
}

/** The name that a PTR question for this address asks about: in-addr.arpa or ip6.arpa (RFC 1035 §3.5, RFC 3596 §2.5). */
export function reverseQuestion({ family, text }: Address): string {
  if (family === 4) return `${text.split(".").reverse().join(".")}.in-addr.arpa`;
  return `${nibbles(text).reverse().join(".")}.ip6.arpa`;
}

/** "unspecified" is 0.0.0.0 or ::, "loopback" 127/8 or ::1, "multicast" 224/4, ff00::/8 and the broadcast address. */
export type Scope = "unspecified" | "loopback" | "multicast" | "other";

/** What kind of place an address names; "other" is a host that could be a client. */
export function scopeOf({ family, text }: Address): Scope {
  if (family === 6) {
    if (text === "::") return "unspecified";
    if (text === "::1") return "loopback";
    return text.startsWith("ff") && text.indexOf(":") === 4 ? "multicast" : "other";
  }
  const first = Number(text.split(".", 1)[0]);
  if (text === "0.0.0.0") return "unspecified";
  if (first === 127) return "loopback";
  return (first >= 224 && first <= 239) || text === "255.255.255.255" ? "multicast" : "other";
}

/**
 * Does the C library take this text for a number? It reads one to four parts, each decimal, octal or hexadecimal, the last
 * one filling what is left: "1.2.3" is 1.2.0.3. Source: inet_aton(3), getaddrinfo(3) AI_NUMERICHOST.
 */
export function looksNumeric(text: string): boolean {
  if (isIP(text) !== 0) return true;
  const parts = text.split(".");
  if (parts.length > 4) return false;
  return parts.every((part, index) => {
    if (!/^(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)$/i.test(part)) return false;
    const value = /^0[0-7]+$/.test(part) ? Number.parseInt(part, 8) : Number(part);
    const bytes = index === parts.length - 1 ? 5 - parts.length : 1;
    return value < 256 ** bytes;
  });
}

/** The 32 half-bytes of canonical IPv6 text, as hexadecimal digits. */
function nibbles(text: string): string[] {
  const [head = "", tail] = withoutDots(text).split("::", 2);
  const groups = (side: string): string[] => (side === "" ? [] : side.split(":"));
  const [left, right] = [groups(head), groups(tail ?? "")];
  const zeros = Array.from({ length: tail === undefined ? 0 : 8 - left.length - right.length }, () => "0");
  return [...left, ...zeros, ...right].flatMap((group) => group.padStart(4, "0").split(""));
}

/** "::1.2.3.4" as "::102:304". */
function withoutDots(text: string): string {
  const at = text.lastIndexOf(":") + 1;
  const quad = text.slice(at);
  if (!isIPv4(quad)) return text;
  const [one = 0, two = 0, three = 0, four = 0] = quad.split(".").map(Number);
  return `${text.slice(0, at)}${(one * 256 + two).toString(16)}:${(three * 256 + four).toString(16)}`;
}
