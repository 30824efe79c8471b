/** Finds out whether `source: client` can work on this machine, and says the line that is missing. */

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { isIPv4 } from "node:net";

import { loadTransparent, TransparentError } from "./transparent.ts";

/** Something that `source: client` needs and this machine does not have. */
export interface MissingForTransparent {
  /** "unverified": nobody could be asked. Everything else is certain. */
  readonly code: "package" | "capability" | "route" | "rule" | "sysctl" | "unverified";
  readonly message: string;
  /** What to type or to write. */
  readonly hint: string;
}

/** One numeric address of a backend. */
export interface BackendOfTransparent {
  readonly address: string;
  readonly port: number;
}

export interface TransparentCheckOptions {
  readonly backends: readonly BackendOfTransparent[];
  /** Reads a file; another one only in tests. */
  readonly read?: (path: string) => Promise<string>;
  /** Runs `ip` with these arguments and gives what it prints; another one only in tests. */
  readonly ip?: (args: readonly string[]) => Promise<string>;
  readonly load?: () => Promise<(address: string, target: string) => { destroy(): unknown }>;
}

/**
 * Checks package, capability, route, rule and sysctl; empty = nothing is missing. Never rejects.
 *
 * The answers of a backend go to the client's address. A rule has to send them to a table whose only route makes every address
 * local, or they leave the machine and the connection never comes about. The kernel itself is asked where an answer would go;
 * only a rule by firewall mark it cannot foresee. Source: ip-rule(8), ip-route(8), the kernel's ip-sysctl.rst.
 */
export async function checkTransparent(
  options: TransparentCheckOptions,
): Promise<readonly MissingForTransparent[]> {
  const { backends, read = (path) => readFile(path, "utf8"), ip = runIp, load = loadTransparent } = options;
  const missing: MissingForTransparent[] = [...(await checkSocket(load, backends))];
  for (const backend of backends) missing.push(...(await checkRoute(ip, read, backend)));
  return missing.filter(
    ({ message, hint }, index) =>
      missing.findIndex((other) => other.message === message && other.hint === hint) === index,
  );
}

/** Addresses of nobody: RFC 5737, RFC 3849. */
const nobody = { "-4": "192.0.2.1", "-6": "2001:db8::1" } as const;

type Family = keyof typeof nobody;

/** Of the table that `source: client` asks for in our hints; any other number is as good. */
const ownTable = "100";

function familyOf(address: string): Family {
  return isIPv4(address) ? "-4" : "-6";
}

async function checkSocket(
  load: NonNullable<TransparentCheckOptions["load"]>,
  backends: readonly BackendOfTransparent[],
): Promise<readonly MissingForTransparent[]> {
  try {
    const open = await load();
    for (const { address } of backends) open(nobody[familyOf(address)], address).destroy();
    return [];
  } catch (error) {
    const isPackage = error instanceof TransparentError && error.code === "ENOPKG";
    const message = error instanceof Error ? error.message : String(error);
    return isPackage
      ? [{ code: "package", message, hint: "npm install koffi" }]
      : [{ code: "capability", message, hint: "AmbientCapabilities=CAP_NET_RAW in the unit file" }];
  }
}

async function checkRoute(
  ip: (args: readonly string[]) => Promise<string>,
  read: (path: string) => Promise<string>,
  { address, port }: BackendOfTransparent,
): Promise<readonly MissingForTransparent[]> {
  const family = familyOf(address);
  const way = await ip([family, "route", "get", address]).catch((error: unknown) => error);
  if (typeof way !== "string") {
    const message = `cannot ask ip(8) for the route of answers from ${address}: ${reasonOf(way)}`;
    const hint = `ip ${family} route get ${nobody[family]} from ${address} ipproto tcp sport ${port}`;
    return [{ code: "unverified", message, hint }];
  }
  const isOwn = way.startsWith("local ");
  const from = isOwn ? [] : ["iif", / dev (\S+)/.exec(way)?.[1] ?? "lo"];
  const question = ["route", "get", nobody[family], "from", address, ...from];
  const answer = await ip([family, ...question, "ipproto", "tcp", "sport", String(port)]).catch(() => "");
  if (answer.startsWith("local ")) return [];
  const { table, isMarked } = await findTable(ip, family);
  if (table !== undefined && isMarked) return isOwn ? await checkSysctls(read, address) : [];
  return [
    ...(table === undefined
      ? [
          {
            code: "route" as const,
            message: `no table makes every IPv${family.slice(1)} address local`,
            hint: `ip ${family} route add local default dev lo table ${ownTable}`,
          },
        ]
      : []),
    {
      code: "rule",
      message: `no rule leads the answers of ${address} port ${port} to table ${table ?? ownTable}`,
      hint: `ip ${family} rule add ipproto tcp sport ${port} lookup ${table ?? ownTable}`,
    },
  ];
}

/** The table that makes every address local, and whether packets get there by a mark. */
async function findTable(
  ip: (args: readonly string[]) => Promise<string>,
  family: Family,
): Promise<{ table?: string; isMarked: boolean }> {
  const print = (args: readonly string[]): Promise<string> => ip([family, ...args]).catch(() => "");
  const routes = await print(["route", "show", "table", "all", "type", "local"]);
  const everywhere = family === "-4" ? "default|0\\.0\\.0\\.0/0" : "default|::/0";
  const table = new RegExp(`^local (?:${everywhere}) dev lo .*?table (\\S+)`, "m").exec(routes)?.[1];
  if (table === undefined) return { isMarked: false };
  const rules = (await print(["rule", "show"])).split("\n");
  const isMarked = rules.some((line) => line.includes(" fwmark ") && line.trim().endsWith(`lookup ${table}`));
  return { table, isMarked };
}

/** A mark comes after the first choice of a route, which then must not have failed. Settings that cannot be read are let pass. */
async function checkSysctls(
  read: (path: string) => Promise<string>,
  address: string,
): Promise<readonly MissingForTransparent[]> {
  if (!isIPv4(address)) return [];
  const wanted = [
    ...(address.startsWith("127.") ? [["net.ipv4.conf.all.route_localnet", 1] as const] : []),
    ["net.ipv4.conf.all.rp_filter", 0] as const,
    ["net.ipv4.conf.lo.rp_filter", 0] as const,
  ];
  const missing: MissingForTransparent[] = [];
  for (const [name, value] of wanted) {
    const text = await read(`/proc/sys/${name.replaceAll(".", "/")}`).catch(() => "");
    if (text === "" || Number(text) === value) continue;
    const message = `${name} is ${text.trim()}, and answers by a mark need ${value}`;
    missing.push({ code: "sysctl", message, hint: `sysctl -w ${name}=${value}` });
  }
  return missing;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error && typeof error.code === "string" ? error.code : error.message.trim();
}

async function runIp(args: readonly string[]): Promise<string> {
  return await new Promise((resolve, reject) => {
    execFile("ip", [...args], { timeout: 5000, maxBuffer: 2 ** 22 }, (error, stdout) => {
      if (error) reject(error);
      else resolve(stdout);
    });
  });
}
