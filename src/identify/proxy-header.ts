/** Reads a PROXY header of either version from the first bytes of a connection. */

import { parseVersion1, signature1 } from "./proxy-v1.ts";
import { parseVersion2, signature2 } from "./proxy-v2.ts";
import type { Parsed, ProxyLimits } from "./proxy-types.ts";
import { refusal } from "./proxy-types.ts";

/**
 * Reads a header, if it is complete.
 *
 * @param bytes everything that has come so far, payload behind the header included
 * @returns "more" as long as it may still become a header; the answer for more bytes is never a different header
 *
 * Pure; never throws, never reads past the end. The document tells receivers never to guess whether a header is there: call
 * this only where one must be.
 *
 * Written by ourselves: proxy-protocol-js takes whole messages only, neither checks addresses, ports and lengths nor knows
 * checksums, and decodes the payload behind a version 1 header as text.
 * Source: HAProxy doc/proxy-protocol.txt, revision 2020/03/05.
 */
export function parseProxyHeader(bytes: Uint8Array, limits: ProxyLimits): Parsed {
  if (bytes.length === 0) return { kind: "more" };
  // The two signatures differ in their first byte: from there on only one of them is possible.
  const [signature, parse] =
    bytes[0] === signature1[0] ? [signature1, parseVersion1] : [signature2, parseVersion2];
  for (let at = 0; at < signature.length; at++) {
    if (at === bytes.length) return { kind: "more" };
    if (bytes[at] !== signature[at]) return refusal("not_proxy", "the first bytes are no PROXY header");
  }
  return parse(bytes, limits);
}

/** Do the first bytes begin a header? "maybe": they are still too few to tell. */
export function beginsProxyHeader(bytes: Uint8Array): "yes" | "no" | "maybe" {
  for (const signature of [signature1, signature2]) {
    const length = Math.min(signature.length, bytes.length);
    if (signature.every((byte, at) => at >= length || byte === bytes[at])) {
      return length === signature.length ? "yes" : "maybe";
    }
  }
  return "no";
}
