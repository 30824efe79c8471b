/** PROXY protocol version 1: one line of text. */

import { isIPv4, isIPv6, SocketAddress } from "node:net";
import type { Endpoint } from "../access/types.ts";
import { announced } from "./proxy-announced.ts";
import type { Parsed, ProxyLimits } from "./proxy-types.ts";
import { refusal } from "./proxy-types.ts";

/** "PROXY " */
export const signature1: readonly number[] = [0x50, 0x52, 0x4f, 0x58, 0x59, 0x20];

/**
 * Reads a version 1 header behind its signature: protocol, two addresses, two ports, one blank between them, CR LF.
 *
 * Stricter than some peers, as the document is: no leading zeros, no port above 65535, no address of the other family, no
 * zone, nothing behind the last port. Of UNKNOWN only the end of the line matters.
 */
export function parseVersion1(bytes: Uint8Array, limits: ProxyLimits): Parsed {
  const bound = Math.min(bytes.length, limits.maxBytes, maxLineBytes);
  const lineEnd = bytes.subarray(0, bound).indexOf(lf);
  if (lineEnd < 0) {
    if (bytes.length < Math.min(limits.maxBytes, maxLineBytes)) return { kind: "more" };
    return refusal("too_long", "no end of line within the bound of a version 1 header");
  }
  if (bytes[lineEnd - 1] !== cr) return refusal("malformed", "the line does not end in CR LF");
  const line = Buffer.from(bytes.subarray(0, lineEnd - 1)).toString("latin1");
  return parseLine(line, lineEnd + 1, limits);
}

/** The longest line that the document allows, CR LF included. */
const maxLineBytes = 107;
const [lf, cr] = [0x0a, 0x0d];

function parseLine(line: string, length: number, limits: ProxyLimits): Parsed {
  const [, protocol, from = "", to = "", fromPort = "", toPort = "", ...more] = line.split(" ");
  if (protocol === "UNKNOWN") {
    return { kind: "header", header: { version: 1, origin: "socket", tlvs: [] }, length };
  }
  if (protocol !== "TCP4" && protocol !== "TCP6")
    return refusal("malformed", "the protocol is not TCP4, TCP6 or UNKNOWN");
  if (more.length > 0) return refusal("malformed", "there are words behind the ports");
  const client = endpoint(protocol, from, fromPort);
  const server = endpoint(protocol, to, toPort);
  if (client === undefined) return refusal("malformed", `the client is no ${protocol} address and port`);
  if (server === undefined) return refusal("malformed", `the server is no ${protocol} address and port`);
  return announced({ version: 1, client, server, tlvs: [] }, length, limits);
}

function endpoint(protocol: "TCP4" | "TCP6", address: string, port: string): Endpoint | undefined {
  if (!/^(0|[1-9][0-9]{0,4})$/.test(port) || Number(port) > 65_535) return undefined;
  if (protocol === "TCP4") return isIPv4(address) ? { address, port: Number(port) } : undefined;
  if (!isIPv6(address) || address.includes("%")) return undefined;
  return { address: new SocketAddress({ address, family: "ipv6" }).address, port: Number(port) };
}
