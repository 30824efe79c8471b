/** Bytes that a peer has not acknowledged yet, as the kernel's table of sockets tells. */
import { readFile } from "node:fs/promises";
import { isIPv4 } from "node:net";
import { endianness } from "node:os";
import ipaddr from "ipaddr.js";

/** The two ends of a connection, as the socket gave them. */
export interface Ends {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

/**
 * Asks for many connections in one reading, because one costs as much as all: the table lists every socket of the machine.
 *
 * @returns one number for each connection, in their order; 0 also for one that the kernel no longer has. A FIN that is not
 *   acknowledged counts as one byte.
 *
 * Rejects where there is no such table (it is Linux's). Source: proc_net_tcp of the kernel's documentation, `tx_queue`.
 */
export async function findUnsent(connections: readonly Ends[]): Promise<number[]> {
  const keys = connections.map(keyOf);
  const tables = {
    tcp: keys.some(({ table }) => table === "tcp") ? await readFile("/proc/net/tcp", "latin1") : "",
    tcp6: keys.some(({ table }) => table === "tcp6") ? await readFile("/proc/net/tcp6", "latin1") : "",
  };
  return keys.map(({ table, key }) => unsentOf(key, tables[table]));
}

function keyOf({ localAddress, localPort, remoteAddress, remotePort }: Ends): {
  table: "tcp" | "tcp6";
  key: string;
} {
  return {
    table: isIPv4(localAddress) ? "tcp" : "tcp6",
    key: ` ${hexOf(localAddress)}:${hexPort(localPort)} ${hexOf(remoteAddress)}:${hexPort(remotePort)} `,
  };
}

/** Words of 32 bits, each printed as the number that this machine reads in its four bytes. */
function hexOf(address: string): string {
  const bytes = Buffer.from(ipaddr.parse(address).toByteArray());
  if (endianness() === "LE") bytes.swap32();
  return bytes.toString("hex").toUpperCase();
}

function hexPort(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}

/** After the two ends come the state, and then `tx_queue:rx_queue`, both hexadecimal. */
function unsentOf(key: string, table: string): number {
  const found = table.indexOf(key);
  if (found < 0) return 0;
  const queues = /^[0-9A-F]+ ([0-9A-F]+):/.exec(table.slice(found + key.length, found + key.length + 40));
  return Number.parseInt(queues?.[1] ?? "0", 16);
}
