/** A list of networks that an address is in or not, such as `proxyProtocol.acceptFrom`. */

import ipaddr from "ipaddr.js";
import { parseAddress } from "./addresses.ts";

/** What is wrong with one entry; the reader of the configuration adds the place. */
export interface NetworkProblem {
  /** The entry as written. */
  readonly text: string;
  /** Lower case, no final stop, offending text in double quotes. */
  readonly message: string;
  readonly hint?: string;
}

/** Networks to ask about; immutable. */
export interface Networks {
  /** IPv4-mapped text counts as IPv4, a zone does not count; "localhost", as a unix peer is called, is in "unix". */
  readonly has: (address: string) => boolean;
}

/**
 * Reads networks: "10.0.0.0/8", "fd00::/8", single addresses, and "unix" for peers on a unix socket.
 *
 * @returns the good entries, and one problem for each of the others
 */
export function parseNetworks(texts: readonly string[]): {
  readonly networks: Networks;
  readonly problems: readonly NetworkProblem[];
} {
  const ranges: Range[] = [];
  const problems: NetworkProblem[] = [];
  for (const text of texts) {
    if (text === "unix") continue;
    const range = parseRange(text);
    if ("message" in range) problems.push({ text, ...range });
    else ranges.push(range);
  }
  const hasUnix = texts.includes("unix");
  const has = (address: string): boolean => {
    const parsed = parseAddress(address);
    if (parsed === undefined) return hasUnix && address === "localhost";
    const number = ipaddr.parse(parsed.text);
    return ranges.some(([net, length]) => net.kind() === number.kind() && number.match(net, length));
  };
  return { networks: { has }, problems };
}

type Range = readonly [net: ipaddr.IPv4 | ipaddr.IPv6, length: number];

function parseRange(text: string): Range | Omit<NetworkProblem, "text"> {
  const [net = "", prefix, ...more] = text.split("/");
  const address = parseAddress(net);
  if (address === undefined || address.zone !== undefined || more.length > 0) {
    return { message: `"${text}" is no network`, hint: 'write "10.0.0.0/8", "fd00::/8" or one address' };
  }
  const width = address.family === 4 ? 32 : 128;
  const length = prefix === undefined ? width : Number(prefix);
  if (!/^[0-9]{1,3}$/.test(prefix ?? "0") || length > width) {
    return { message: `"${text}" has no length between 0 and ${width}` };
  }
  const number = ipaddr.parse(address.text);
  const base = networkBase(number, length);
  if (base !== number.toString()) {
    return { message: `"${text}" has bits set below the mask`, hint: `write "${base}/${length}"` };
  }
  return [number, length];
}

function networkBase(address: ipaddr.IPv4 | ipaddr.IPv6, length: number): string {
  const bytes = address
    .toByteArray()
    .map((byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, length - at * 8))));
  return ipaddr.fromByteArray(bytes.map((byte) => byte & 255)).toString();
}
