/** Builds PROXY headers for tests, right ones and wrong ones. */

import { crc32c } from "../../src/platform/crc32c.ts";

export const signature = Buffer.from("0d0a0d0a000d0a515549540a", "hex");

/** One extension; `length` where it shall lie. */
export function tlv(type: number, value: Uint8Array | string, length = Buffer.from(value).length): Buffer {
  return Buffer.concat([Buffer.from([type, length >> 8, length & 255]), Buffer.from(value)]);
}

export interface Version2 {
  /** Version and command; 0x21 is PROXY, 0x20 LOCAL. */
  readonly command?: number;
  /** Family and transport; 0x11 is TCP over IPv4. */
  readonly family?: number;
  readonly addresses?: Uint8Array;
  readonly tlvs?: readonly Uint8Array[];
  /** Where the length shall lie. */
  readonly length?: number;
}

/** 192.0.2.7:40000 to 198.51.100.1:22. */
export const addresses4 = Buffer.from("c0000207c63364019c400016", "hex");
/** 2001:db8::7, port 40000, to 2001:db8::1, port 22. */
export const addresses6 = Buffer.from(
  "20010db800000000000000000000000720010db80000000000000000000000019c400016",
  "hex",
);

/** A version 2 header; by default a right one for IPv4. */
export function version2(parts: Version2 = {}): Buffer {
  const { command = 0x21, family = 0x11, addresses = addresses4, tlvs = [] } = parts;
  const block = Buffer.concat([addresses, ...tlvs]);
  const length = parts.length ?? block.length;
  return Buffer.concat([signature, Buffer.from([command, family, length >> 8, length & 255]), block]);
}

/** The same with a checksum as its last extension, right unless `wrongBy` flips bits of it. */
export function withChecksum(parts: Version2 = {}, wrongBy = 0): Buffer {
  const header = version2({ ...parts, tlvs: [...(parts.tlvs ?? []), tlv(3, Buffer.alloc(4))] });
  header.writeUInt32BE((crc32c(header) ^ wrongBy) >>> 0, header.length - 4);
  return header;
}

/** What `version2()` announces. */
export const announced4 = {
  client: { address: "192.0.2.7", port: 40000 },
  server: { address: "198.51.100.1", port: 22 },
};
export const announced6 = {
  client: { address: "2001:db8::7", port: 40000 },
  server: { address: "2001:db8::1", port: 22 },
};
