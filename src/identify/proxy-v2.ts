/** PROXY protocol version 2: a binary header with addresses and extensions. */

import { SocketAddress } from "node:net";
import type { Endpoint } from "../access/types.ts";
import { announced } from "./proxy-announced.ts";
import { parseTlvs, verifyChecksum } from "./proxy-tlvs.ts";
import type { Parsed, ProxyLimits } from "./proxy-types.ts";
import { refusal } from "./proxy-types.ts";

/** CR LF CR LF NUL CR LF "QUIT" LF: no other protocol begins like this. */
export const signature2: readonly number[] = [
  0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
];

/**
 * Reads a version 2 header behind its signature.
 *
 * What the first bytes already forbid is refused before the rest has come, and a length beyond the bound at once. A block that
 * the document tells to ignore (LOCAL, UNSPEC) is skipped unread; else its last byte must be that of the last extension.
 * A datagram client on a stream is refused: the socket's address in its place would let it in by the proxy's own rules.
 */
export function parseVersion2(bytes: Uint8Array, limits: ProxyLimits): Parsed {
  const [versionAndCommand, family] = [bytes[12], bytes[13]];
  if (versionAndCommand === undefined) return { kind: "more" };
  if (versionAndCommand >> 4 !== 2) return refusal("malformed", "the version is not 2");
  const command = versionAndCommand & 15;
  if (command > 1) return refusal("malformed", "the command is neither LOCAL nor PROXY");
  if (family === undefined) return { kind: "more" };
  const addressBytes = addressLengths.get(family);
  if (command === proxyCommand && addressBytes === undefined) {
    return refusal("malformed", "the family and transport are none of a stream");
  }
  if (bytes.length < fixedBytes) return { kind: "more" };
  const length = fixedBytes + (bytes[14] ?? 0) * 256 + (bytes[15] ?? 0);
  if (length > limits.maxBytes) return refusal("too_long", "the announced length is beyond the bound");
  if (command === proxyCommand && length - fixedBytes < (addressBytes ?? 0)) {
    return refusal("malformed", "the length is too short for the addresses");
  }
  if (bytes.length < length) return { kind: "more" };
  if (command !== proxyCommand || family === unspecified) {
    const origin = command === proxyCommand ? "socket" : "local";
    return { kind: "header", header: { version: 2, origin, tlvs: [] }, length };
  }
  return parseBlock(bytes.subarray(0, length), family, fixedBytes + (addressBytes ?? 0), limits);
}

const fixedBytes = 16;
const proxyCommand = 1;
const [unspecified, tcp4, tcp6, unixStream] = [0x00, 0x11, 0x21, 0x31];
/** Bytes of the two endpoints, by the byte of family and transport. */
const addressLengths: ReadonlyMap<number, number> = new Map([
  [unspecified, 0],
  [tcp4, 12],
  [tcp6, 36],
  [unixStream, 216],
]);

function parseBlock(header: Uint8Array, family: number, tlvsAt: number, limits: ProxyLimits): Parsed {
  const tlvs = parseTlvs(header.subarray(tlvsAt));
  if (tlvs === undefined) return refusal("malformed", "the extensions do not end where the header ends");
  const checksum = verifyChecksum(header, tlvsAt);
  if (checksum === "malformed")
    return refusal("malformed", "there is more than one checksum, or not of four bytes");
  if (checksum === "wrong") return refusal("checksum", "the checksum is wrong");
  if (family === unixStream) {
    return { kind: "header", header: { version: 2, origin: "unix", tlvs }, length: header.length };
  }
  const width = family === tcp4 ? 4 : 16;
  const portsAt = fixedBytes + 2 * width;
  const client = endpoint(header, fixedBytes, width, portsAt);
  const server = endpoint(header, fixedBytes + width, width, portsAt + 2);
  return announced({ version: 2, client, server, tlvs }, header.length, limits);
}

function endpoint(header: Uint8Array, at: number, width: number, portAt: number): Endpoint {
  const bytes = header.subarray(at, at + width);
  const port = (header[portAt] ?? 0) * 256 + (header[portAt + 1] ?? 0);
  if (width === 4) return { address: bytes.join("."), port };
  const groups = Array.from({ length: 8 }, (_, group) =>
    ((bytes[group * 2] ?? 0) * 256 + (bytes[group * 2 + 1] ?? 0)).toString(16),
  );
  return { address: new SocketAddress({ address: groups.join(":"), family: "ipv6" }).address, port };
}
