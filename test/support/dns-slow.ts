/**
 * A DNS server in a process of its own that names every address, each answer so many milliseconds late.
 *
 * Argument: the delay, or "silent". Prints its address, ends with its standard input.
 */

import type { DnsRecord } from "./dns-server.ts";
import { startDns } from "./dns-server.ts";

const delayMs = process.argv[2] === "silent" ? undefined : Number(process.argv[2]);

const server = await startDns(({ name, type }) => {
  if (delayMs === undefined) return undefined;
  const records: DnsRecord[] = [];
  if (type === "PTR")
    records.push({ type, data: `h-${name.split(".").slice(0, 4).reverse().join("-")}.example` });
  if (type === "A") records.push({ type, data: name.slice(2, -".example".length).replaceAll("-", ".") });
  return { records, delayMs };
});
process.stdout.write(`${server.address}\n`);
process.stdin.resume().on("end", () => void server.close());
