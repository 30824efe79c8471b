/** The addresses that our packets to the rest of the world go to first. */
import { readFileSync } from "node:fs";
import { SocketAddress } from "node:net";
import { endianness } from "node:os";

/** RTF_UP and RTF_GATEWAY. Source: linux/route.h. */
const UP_AND_GATEWAY = 0x3;

/**
 * The gateways of the default routes, as canonical addresses; empty where there is none, or no /proc.
 *
 * @param folder where the kernel shows the routes of our network namespace
 *
 * Source: the kernel's fib_trie.c (fib_route_seq_show) and ipv6/route.c (rt6_info_route).
 */
export function defaultGateways(folder = "/proc/self/net"): ReadonlySet<string> {
  const ipv4 = rows(`${folder}/route`).flatMap(([, destination, gateway = "", flags = ""]) =>
    destination === "00000000" && isGateway(flags) ? [ipv4Text(gateway)] : [],
  );
  const ipv6 = rows(`${folder}/ipv6_route`).flatMap((fields) => {
    const [destination = "", length, , , gateway = "", , , , flags = ""] = fields;
    return /^0{32}$/.test(destination) && length === "00" && isGateway(flags) ? [ipv6Text(gateway)] : [];
  });
  return new Set([...ipv4, ...ipv6]);
}

function rows(path: string): string[][] {
  try {
    return readFileSync(path, "latin1")
      .split("\n")
      .map((line) => line.trim().split(/\s+/));
  } catch {
    return []; // a kernel without that family
  }
}

function isGateway(flags: string): boolean {
  return (Number.parseInt(flags, 16) & UP_AND_GATEWAY) === UP_AND_GATEWAY;
}

/** The kernel prints the four bytes as one number of its own byte order. */
function ipv4Text(hex: string): string {
  const bytes = hex.match(/../g)?.map((byte) => Number.parseInt(byte, 16)) ?? [];
  return (endianness() === "LE" ? bytes.reverse() : bytes).join(".");
}

function ipv6Text(hex: string): string {
  return new SocketAddress({ address: hex.match(/.{4}/g)?.join(":") ?? "::", family: "ipv6" }).address;
}
