/** Writes the PROXY header that tells a backend who its client is: version 1 as a line of text, version 2 in binary. */

import ipaddr from "ipaddr.js";

import { crc32c } from "../platform/crc32c.ts";

/** One end of the client's connection. */
export interface ProxyEndpoint {
  /** Numeric, canonical or IPv4-mapped; a zone (`%eth0`) is left out. */
  readonly address: string;
  readonly port: number;
}

export interface ProxyHeaderOptions {
  readonly version: "v1" | "v2";
  /** Absent where the client is on a unix socket, or is ourselves: the header says UNKNOWN or LOCAL. */
  readonly connection?: {
    readonly client: ProxyEndpoint;
    /** The address that the client reached. */
    readonly server: ProxyEndpoint;
  };
  /** Version 2 only: the id of the connection's records, as a unique id; at most 128 bytes are sent. */
  readonly uniqueId?: string;
}

/**
 * Builds the header; it has to be the first thing a backend hears, in one write.
 *
 * The family is that of the client's connection, whatever the backend's is: IPv4 if both ends are IPv4 or IPv4-mapped,
 * else IPv6 with an IPv4 end mapped. Version 2 carries a CRC32c.
 *
 * @throws RangeError on an address that is no address or a port beyond 65535: a backend must not be told nonsense
 *
 * Source: The PROXY protocol, versions 1 and 2 (haproxy `doc/proxy-protocol.txt`), sections 2.1, 2.2.
 */
export function buildProxyHeader(options: ProxyHeaderOptions): Buffer {
  const addresses = options.connection && readAddresses(options.connection);
  return options.version === "v1" ? buildVersion1(addresses) : buildVersion2(addresses, options.uniqueId);
}

interface Addresses {
  readonly client: ipaddr.IPv4 | ipaddr.IPv6;
  readonly server: ipaddr.IPv4 | ipaddr.IPv6;
  readonly clientPort: number;
  readonly serverPort: number;
}

function readAddresses({ client, server }: NonNullable<ProxyHeaderOptions["connection"]>): Addresses {
  const ends = [client, server].map(({ address }) => readAddress(address)) as [ipaddr.IPv4, ipaddr.IPv4];
  const [clientAddress, serverAddress] = ends.every((end) => end.kind() === "ipv4") ? ends : ends.map(toIPv6);
  for (const { port } of [client, server]) {
    if (!Number.isInteger(port) || port < 0 || port > 65535) throw new RangeError(`no port: ${port}`);
  }
  if (clientAddress === undefined || serverAddress === undefined) throw new RangeError("no addresses");
  return { client: clientAddress, server: serverAddress, clientPort: client.port, serverPort: server.port };
}

function readAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 {
  const withoutZone = text.replace(/%.*$/s, "");
  // isValid alone takes "1" and "0x7f.1" for IPv4.
  if (!ipaddr.IPv4.isValidFourPartDecimal(withoutZone) && !ipaddr.IPv6.isValid(withoutZone)) {
    throw new RangeError(`no address: ${JSON.stringify(text)}`);
  }
  return ipaddr.process(withoutZone);
}

function toIPv6(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv6 {
  return address instanceof ipaddr.IPv4 ? address.toIPv4MappedAddress() : address;
}

function buildVersion1(addresses: Addresses | undefined): Buffer {
  if (addresses === undefined) return Buffer.from("PROXY UNKNOWN\r\n");
  const { client, server, clientPort, serverPort } = addresses;
  const family = client.kind() === "ipv4" ? "TCP4" : "TCP6";
  return Buffer.from(
    `PROXY ${family} ${client.toString()} ${server.toString()} ${clientPort} ${serverPort}\r\n`,
  );
}

const signature = Buffer.from("\r\n\r\n\0\r\nQUIT\n");
const headBytes = 16;
const command = { local: 0x20, proxy: 0x21 } as const;
const family = { unspecified: 0x00, tcp4: 0x11, tcp6: 0x21 } as const;
const tlvType = { checksum: 0x03, uniqueId: 0x05 } as const;
const maxUniqueIdBytes = 128;

function buildVersion2(addresses: Addresses | undefined, uniqueId: string | undefined): Buffer {
  const checksum = tlv(tlvType.checksum, Buffer.alloc(4));
  const body = Buffer.concat([
    addresses ? addressBlock(addresses) : Buffer.alloc(0),
    uniqueId === undefined ? Buffer.alloc(0) : tlv(tlvType.uniqueId, cutUniqueId(uniqueId)),
    checksum,
  ]);
  const head = Buffer.alloc(headBytes);
  signature.copy(head);
  head[12] = addresses ? command.proxy : command.local;
  head[13] = addresses
    ? addresses.client.kind() === "ipv4"
      ? family.tcp4
      : family.tcp6
    : family.unspecified;
  head.writeUInt16BE(body.length, 14);
  const header = Buffer.concat([head, body]);
  header.writeUInt32BE(crc32c(header), header.length - 4);
  return header;
}

function addressBlock({ client, server, clientPort, serverPort }: Addresses): Buffer {
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(clientPort, 0);
  ports.writeUInt16BE(serverPort, 2);
  return Buffer.concat([Buffer.from(client.toByteArray()), Buffer.from(server.toByteArray()), ports]);
}

/** At most 128 bytes, and no half of a character at the end. */
function cutUniqueId(text: string): Buffer {
  const bytes = Buffer.from(text);
  let end = Math.min(bytes.length, maxUniqueIdBytes);
  while (end < bytes.length && end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end);
}

function tlv(type: number, value: Buffer): Buffer {
  const head = Buffer.from([type, 0, 0]);
  head.writeUInt16BE(value.length, 1);
  return Buffer.concat([head, value]);
}
