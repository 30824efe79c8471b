/** Asks the kernel's table of UDP sockets who has a port. */

import { readFileSync } from "node:fs";
import ipaddr from "ipaddr.js";

/** TCP_CLOSE: of a UDP socket it says that it is not connected. Source: proc(5), include/net/tcp_states.h. */
const unconnected = "07";

/**
 * Whether somebody takes the datagrams of strangers on an address and port, or on the wildcard address. Sockets that are connected to one
 * client each are not meant: they take nothing away.
 *
 * @param host numeric
 * @returns true too where the kernel does not say
 */
export function hasUdpListener(host: string, port: number): boolean {
  const [address = ""] = host.split("%", 1);
  const parsed = ipaddr.parse(address);
  const own = hexOf(parsed.toByteArray());
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  try {
    const table = readFileSync(`/proc/self/net/${parsed.kind() === "ipv6" ? "udp6" : "udp"}`, "latin1");
    return table.split("\n").some((line) => {
      const [, local = "", , state] = line.trim().split(/\s+/);
      if (state !== unconnected || !local.endsWith(suffix)) return false;
      const other = local.slice(0, -suffix.length);
      return other === own || isWildcard(other) || isWildcard(own);
    });
  } catch {
    return true;
  }
}

/** As the table has it: each four bytes as a number of the machine's own order, all that Node runs on begin with the least. */
function hexOf(bytes: readonly number[]): string {
  const words = Array.from({ length: bytes.length / 4 }, (_, word) => bytes.slice(4 * word, 4 * word + 4));
  return words
    .flatMap((word) => word.reverse().map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")))
    .join("");
}

function isWildcard(hex: string): boolean {
  return /^0+$/.test(hex);
}
