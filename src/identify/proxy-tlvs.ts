/** The extensions of a version 2 PROXY header: their bounds, their checksum, and their names for the record. */

import type { Tlv } from "./proxy-types.ts";
import { crc32c } from "../platform/crc32c.ts";

/**
 * Splits a block into its extensions: one byte of type, two of length, the value.
 *
 * @returns undefined where the last one does not end with the block; unknown, empty and repeated ones are kept as they came
 */
export function parseTlvs(block: Uint8Array): readonly Tlv[] | undefined {
  const tlvs: Tlv[] = [];
  for (let at = 0; at < block.length;) {
    const value = valueAt(block, at);
    if (value === undefined) return undefined;
    tlvs.push({ type: block[at] ?? 0, value: Uint8Array.from(value) }); // a copy: the buffer of the socket is large, and not ours
    at += tlvHeadBytes + value.length;
  }
  return tlvs;
}

/**
 * Checks the CRC32c over the whole header, whose own four bytes count as zero.
 *
 * @param tlvsAt where the extensions begin; they are well-formed
 */
export function verifyChecksum(
  header: Uint8Array,
  tlvsAt: number,
): "absent" | "right" | "wrong" | "malformed" {
  let checksumAt = 0;
  for (let at = tlvsAt; at < header.length;) {
    const length = valueAt(header, at)?.length ?? 0;
    if (header[at] === checksumType) {
      if (length !== checksumBytes || checksumAt !== 0) return "malformed";
      checksumAt = at + tlvHeadBytes;
    }
    at += tlvHeadBytes + length;
  }
  if (checksumAt === 0) return "absent";
  const zeroed = Uint8Array.from(header).fill(0, checksumAt, checksumAt + checksumBytes);
  const stored = new DataView(header.buffer, header.byteOffset + checksumAt, checksumBytes).getUint32(0);
  return crc32c(zeroed) === stored ? "right" : "wrong";
}

/**
 * The extensions in a form for the record: name (or "type_N"), and the value as text where it is printable ASCII, else in
 * hexadecimal behind "0x". Values are cut, checksum and padding left out.
 */
export function describeTlvs(
  tlvs: readonly Tlv[],
): readonly { readonly name: string; readonly value: string }[] {
  return tlvs
    .filter(({ type }) => type !== checksumType && type !== paddingType)
    .map(({ type, value }) => {
      const bytes = Buffer.from(value.subarray(0, maxShownBytes));
      const text = bytes.toString("latin1");
      const isText = /^[\x20-\x7e]+$/.test(text) && !text.startsWith("0x");
      return {
        name: tlvNames.get(type) ?? `type_${type}`,
        value: isText ? text : `0x${bytes.toString("hex")}`,
      };
    });
}

/** What the sender calls the connection, for comparing; undefined where it does not say. */
export function uniqueIdOf(tlvs: readonly Tlv[]): string | undefined {
  const found = tlvs.find(({ type }) => type === uniqueIdType);
  return found && Buffer.from(found.value).toString("latin1");
}

const tlvHeadBytes = 3;
const [checksumType, paddingType, uniqueIdType] = [0x03, 0x04, 0x05];
const checksumBytes = 4;
const maxShownBytes = 256;

/** Names as in the document, without their prefix. */
const tlvNames: ReadonlyMap<number, string> = new Map([
  [0x01, "alpn"],
  [0x02, "authority"],
  [uniqueIdType, "unique_id"],
  [0x20, "ssl"],
  [0x30, "netns"],
]);

function valueAt(block: Uint8Array, at: number): Uint8Array | undefined {
  if (at + tlvHeadBytes > block.length) return undefined;
  const end = at + tlvHeadBytes + (block[at + 1] ?? 0) * 256 + (block[at + 2] ?? 0);
  return end > block.length ? undefined : block.subarray(at + tlvHeadBytes, end);
}
