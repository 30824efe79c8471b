/** Judges what listens on this machine: who keeps strangers out of it, if anybody. */

import { isIPv6 } from "node:net";
import type { Table, Tables } from "../access/tables.ts";
import type { Settings } from "../config/schema.ts";
import { printEndpoint } from "../listen/endpoint.ts";
import type { Listeners, ListeningSocket, Owner } from "../platform/listeners.ts";

/** One listening socket, judged. */
export interface ServiceRow {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  /** Whether other machines can reach it, as far as its address says. */
  readonly reach: "world" | "loopback";
  /** Null where we may not know. */
  readonly program: string | null;
  readonly pids: readonly number[];
  readonly user: string | null;
  readonly unit: string | null;
  readonly libwrap: boolean | null;
  /** Whether a rule names it, or only ALL of them, and the first such rule. */
  readonly tables: { readonly named: "name" | "all" | "no"; readonly file?: string; readonly line?: number };
  /** The service of ours that listens there. */
  readonly fronted: string | null;
  /** The service of ours whose backend it is. */
  readonly backendOf: string | null;
  /** Who asks the tables before a client is served: null = nobody, as far as we may know. */
  readonly filteredBy: "tcpwrapd" | "libwrap" | null;
  /** What the administrator should know. */
  readonly note?: string;
}

/** What the rows are judged by. */
export interface Judging {
  readonly tables: Tables;
  readonly services: Settings["services"];
  /** Where the running daemon listens by service; absent = none answers, so the configuration counts. */
  readonly fronts?: ReadonlyMap<string, readonly string[]>;
}

/** A row for each socket, by protocol and port; sockets of one program at one place make one row. */
export function judgeListeners({ sockets }: Listeners, judging: Judging): ServiceRow[] {
  const rows = new Map<string, ServiceRow>();
  const namedIn = rulesByDaemon(judging.tables);
  for (const socket of sockets) {
    const row = judge(socket, judging, namedIn);
    const key = `${row.protocol} ${row.address} ${row.port} ${row.program ?? ""}`;
    const before = rows.get(key);
    rows.set(
      key,
      before === undefined ? row : { ...before, pids: [...new Set([...before.pids, ...row.pids])] },
    );
  }
  return [...rows.values()].sort(
    (one, other) =>
      one.port - other.port ||
      one.protocol.localeCompare(other.protocol) ||
      one.address.localeCompare(other.address),
  );
}

type NamedIn = (words: readonly string[]) => ServiceRow["tables"];

function judge(
  socket: ListeningSocket & { readonly owners: readonly Owner[] },
  judging: Judging,
  namedIn: NamedIn,
): ServiceRow {
  const { protocol, address, port, owners } = socket;
  const [owner] = owners;
  const fronted = frontOf(socket, judging);
  const backendOf = backendAt(socket, judging.services);
  const daemon = fronted === null ? undefined : (judging.services[fronted]?.daemon ?? fronted);
  const names = daemon === undefined ? [owner?.program, owner?.name] : [daemon];
  const libwrap = owner?.usesLibwrap ?? null;
  const row = {
    protocol,
    address,
    port,
    reach: isLoopback(address) ? ("loopback" as const) : ("world" as const),
    program: owner?.program ?? null,
    pids: owners.map(({ pid }) => pid),
    user: owner?.user ?? null,
    unit: owner?.unit ?? null,
    libwrap,
    tables: namedIn([...names.flatMap((name) => name ?? []), String(port)]),
    fronted,
    backendOf,
    filteredBy: fronted !== null ? ("tcpwrapd" as const) : libwrap === true ? ("libwrap" as const) : null,
  };
  const note = noteOn(row);
  return note === undefined ? row : { ...row, note };
}

function noteOn({ reach, tables, backendOf, filteredBy, libwrap, program }: ServiceRow): string | undefined {
  if (backendOf !== null && reach === "world" && filteredBy === null) {
    return `the backend of "${backendOf}" can be reached past tcpwrapd: let it listen on a loopback address`;
  }
  if (filteredBy !== null || backendOf !== null || program === null || libwrap === null) return undefined;
  return tables.named === "name"
    ? "the tables name it, but it does not read them: those rules have no effect"
    : undefined;
}

/** The service of ours that listens there: by what the daemon says, else by what the configuration says. */
function frontOf(socket: ListeningSocket, { services, fronts }: Judging): string | null {
  const place = placeOf(socket);
  if (fronts !== undefined) {
    return [...fronts].find(([, places]) => places.includes(place))?.[0] ?? null;
  }
  const isUs = ({ listen }: Settings["services"][string]): boolean =>
    listen.some((endpoint) => printEndpoint(endpoint) === place);
  return Object.entries(services).find(([, service]) => isUs(service))?.[0] ?? null;
}

function placeOf({ protocol, address, port }: ListeningSocket): string {
  const place = printEndpoint({ kind: "tcp", host: address, port });
  return protocol === "udp" ? `udp:${place}` : place;
}

function backendAt(socket: ListeningSocket, services: Settings["services"]): string | null {
  const { port, address } = socket;
  const isTarget = ({ backend = [] }: Settings["services"][string]): boolean =>
    backend.some((target) => {
      if (
        !("port" in target) ||
        target.port !== port ||
        target.kind.startsWith("udp") !== (socket.protocol === "udp")
      )
        return false;
      const host = target.host === "localhost" ? "127.0.0.1" : target.host;
      if (host === address) return true;
      // A wildcard takes what comes to any address of ours; only loopback is surely one.
      return isLoopback(host) && (address === "::" || (address === "0.0.0.0" && !isIPv6(host)));
    });
  return Object.entries(services).find(([, service]) => isTarget(service))?.[0] ?? null;
}

function isLoopback(address: string): boolean {
  return address === "::1" || /^(?:::ffff:)?127\./.test(address);
}

/** Looks daemon names up in both tables, each list of daemons read once. */
function rulesByDaemon({ allow, deny }: Tables): NamedIn {
  const places = new Map<string, { readonly file: string; readonly line: number }>();
  for (const table of [allow, deny]) addDaemons(table, places);
  return (words) => {
    const [named] = words.flatMap((word) => places.get(word.toLowerCase()) ?? []);
    if (named !== undefined) return { named: "name", ...named };
    const all = places.get("all");
    return all === undefined ? { named: "no" } : { named: "all", ...all };
  };
}

function addDaemons({ file, rules }: Table, places: Map<string, { file: string; line: number }>): void {
  const seen = new Set<string>();
  for (let index = 0; index < rules.length; index++) {
    const text = rules.text(index) ?? "";
    const list = text.slice(0, Math.max(0, text.indexOf(":")));
    if (seen.has(list)) continue;
    seen.add(list);
    for (const word of list.toLowerCase().split(/[\s,]+/)) {
      const [daemon = ""] = word.split("@", 1);
      if (daemon !== "" && !places.has(daemon))
        places.set(daemon, { file, line: rules.matched(index)?.line ?? 0 });
    }
  }
}
