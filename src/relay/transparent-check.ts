/** Finds out whether `source: client` can work on this machine, and says the line that is missing. */

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { isIPv4 } from "node:net";

import { loadTransparent, TransparentError, type OpenFrom } from "./transparent.ts";

/** Something that `source: client` needs and this machine does not have. */
export interface MissingForTransparent {
  readonly code: "package" | "capability" | "route" | "rule" | "sysctl";
  readonly message: string;
  /** What to type or to write. */
  readonly hint: string;
}

export interface TransparentCheckOptions {
  /** Numeric addresses of the backends concerned. */
  readonly backends: readonly string[];
  /** Reads a file; another one only in tests. */
  readonly read?: (path: string) => Promise<string>;
  /** Runs `ip` with these arguments and gives what it prints; another one only in tests. */
  readonly ip?: (args: readonly string[]) => Promise<string>;
  readonly load?: () => Promise<OpenFrom>;
}

/**
 * Checks package, capability, route and sysctl; empty = nothing is missing. Never rejects.
 *
 * The answers of a backend on this machine go to the client's address; a rule has to send them to a table whose only
 * route makes every address local, or they leave the machine and the connection never comes about.
 */
export async function checkTransparent(
  options: TransparentCheckOptions,
): Promise<readonly MissingForTransparent[]> {
  const { backends, read = (path) => readFile(path, "utf8"), ip = runIp, load = loadTransparent } = options;
  const missing: MissingForTransparent[] = [...(await checkSocket(load, backends))];
  const families = new Set(backends.map((address) => (isIPv4(address) ? "-4" : "-6")));
  for (const family of families) missing.push(...(await checkRoutes(ip, family)));
  if (backends.some((address) => address.startsWith("127."))) {
    missing.push(...(await checkSysctl(read, "net.ipv4.conf.all.route_localnet", (value) => value === 1, 1)));
  }
  if (families.has("-4")) {
    for (const name of ["all", "lo"]) {
      missing.push(
        ...(await checkSysctl(read, `net.ipv4.conf.${name}.rp_filter`, (value) => value === 0, 0)),
      );
    }
  }
  return missing;
}

async function checkSocket(
  load: () => Promise<OpenFrom>,
  backends: readonly string[],
): Promise<readonly MissingForTransparent[]> {
  try {
    const open = await load();
    // An address of nobody: RFC 5737, RFC 3849.
    for (const backend of backends) open(isIPv4(backend) ? "192.0.2.1" : "2001:db8::1", backend).destroy();
    return [];
  } catch (error) {
    const isPackage = error instanceof TransparentError && error.code === "ENOPKG";
    const message = error instanceof Error ? error.message : String(error);
    return isPackage
      ? [{ code: "package", message, hint: "npm install koffi" }]
      : [{ code: "capability", message, hint: "AmbientCapabilities=CAP_NET_ADMIN in the unit file" }];
  }
}

async function checkRoutes(
  ip: (args: readonly string[]) => Promise<string>,
  family: string,
): Promise<readonly MissingForTransparent[]> {
  const print = (args: readonly string[]): Promise<string> => ip([family, ...args]).catch(() => "");
  const routes = await print(["route", "show", "table", "all", "type", "local"]);
  const everywhere = family === "-4" ? "default|0\\.0\\.0\\.0/0" : "default|::/0";
  const table = new RegExp(`^local (?:${everywhere}) dev lo .*?table (\\S+)`, "m").exec(routes)?.[1];
  if (table === undefined) {
    const message = `no table makes every IPv${family.slice(1)} address local`;
    return [{ code: "route", message, hint: `ip ${family} route add local default dev lo table 100` }];
  }
  const rules = await print(["rule", "show"]);
  if (rules.split("\n").some((line) => line.trim().endsWith(`lookup ${table}`))) return [];
  const hint = `ip ${family} rule add ipproto tcp sport PORT lookup ${table}, PORT being the backend's, or fwmark with nftables`;
  return [{ code: "rule", message: `no rule leads the backend's answers to table ${table}`, hint }];
}

async function checkSysctl(
  read: (path: string) => Promise<string>,
  name: string,
  isRight: (value: number) => boolean,
  wanted: number,
): Promise<readonly MissingForTransparent[]> {
  const text = await read(`/proc/sys/${name.replaceAll(".", "/")}`).catch(() => "");
  if (text !== "" && isRight(Number(text))) return [];
  const found = text.trim() || "not readable";
  return [
    { code: "sysctl", message: `${name} is ${found}, not ${wanted}`, hint: `sysctl -w ${name}=${wanted}` },
  ];
}

async function runIp(args: readonly string[]): Promise<string> {
  return await new Promise((resolve, reject) => {
    execFile("ip", [...args], { timeout: 5000, maxBuffer: 2 ** 22 }, (error, stdout) => {
      if (error) reject(error);
      else resolve(stdout);
    });
  });
}
