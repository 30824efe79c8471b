/** The network interfaces of this machine. */

import { readdirSync } from "node:fs";
import { networkInterfaces } from "node:os";

/** Their names, also of those without an address. Source: /sys/class/net, sysfs(5). */
export function interfaceNames(): ReadonlySet<string> {
  try {
    return new Set(readdirSync("/sys/class/net"));
  } catch {
    return new Set(Object.keys(networkInterfaces()));
  }
}

/** Their addresses, canonical and without a zone; none where the machine does not tell. */
export function ownAddresses(): ReadonlySet<string> {
  try {
    const known = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
    return new Set(known.map(({ address }) => address.replace(/%.*$/, "")));
  } catch {
    return new Set();
  }
}
