/** `tcpwrapd services`: what listens on this machine, who owns it, and whether anybody asks the tables about its clients. */

import { loadTables } from "../config/load.ts";
import { readWhole } from "../config/files.ts";
import { schema } from "../config/schema.ts";
import type { Status } from "../control/api.ts";
import { askDaemon, NoDaemon } from "../control/client.ts";
import { printEndpoint } from "../listen/endpoint.ts";
import { findListeners } from "../platform/listeners.ts";
import { escapePhrase } from "../record/escape.ts";
import { exitStatus } from "./exit-status.ts";
import type { AddCommand, Io } from "./io.ts";
import { judgeListeners, type ServiceRow } from "./services-report.ts";
import { ConfigurationError, type ReadSettings, readSettings, type SharedFlags } from "./settings.ts";
import { withSharedFlags } from "./shared-flags.ts";
import { printColumns } from "./table.ts";

interface ServicesFlags extends SharedFlags {
  readonly json: boolean;
}

/** Adds the command. */
export const servicesCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "services",
    "what listens on this machine, and whether the tables count for it",
    (command) =>
      withSharedFlags(command)
        .option("json", { type: "boolean", default: false, describe: "one JSON object" })
        .example("$0 services", "as root it sees the programs of all users")
        .example(`$0 services --json | jq '.services[] | select(.note)'`, "what needs a look"),
    async (flags) => {
      const asked = flags as unknown as ServicesFlags;
      const report = await look(asked, io);
      io.output.write(asked.json ? `${JSON.stringify(report)}\n` : print(report));
      exit(exitStatus.ok);
    },
  );

interface Report {
  readonly services: readonly ServiceRow[];
  /** What our user may not see. */
  readonly unseen: { readonly processes: number; readonly sockets: number };
  /** Whether a daemon has answered; without one the configuration says what is fronted. */
  readonly daemon: boolean;
}

async function look(flags: ServicesFlags, io: Io): Promise<Report> {
  const { settings, inlineTables } = await settingsOf(flags, io);
  const { tables } = loadTables({
    ...settings.access,
    read: (path, maxBytes) => {
      const text = inlineTables.get(path);
      if (text !== undefined) return { kind: "text", bytes: new TextEncoder().encode(text) };
      return readWhole(path, maxBytes).source;
    },
  });
  const fronts = await frontsOf(flags.controlSocket ?? settings.control.socket);
  const listeners = findListeners();
  const { services } = settings;
  const rows = judgeListeners(listeners, { tables, services, ...(fronts !== undefined && { fronts }) });
  const unowned = listeners.sockets.filter(({ owners }) => owners.length === 0).length;
  return {
    services: rows,
    unseen: { processes: listeners.hiddenProcesses, sockets: unowned },
    daemon: fronts !== undefined,
  };
}

/** A configuration that cannot be used hides nothing of the machine. */
async function settingsOf(flags: ServicesFlags, io: Io): Promise<Omit<ReadSettings, "configFile">> {
  try {
    return await readSettings(flags, io.environment);
  } catch (cause) {
    if (!(cause instanceof ConfigurationError)) throw cause;
    io.errors.write(
      `${cause.message}\ntcpwrapd: the configuration cannot be used, so no service of ours is known\n`,
    );
    return { settings: schema.parse({}), inlineTables: new Map() };
  }
}

/** Where the running daemon listens; undefined where none answers. */
async function frontsOf(socket: string): Promise<ReadonlyMap<string, readonly string[]> | undefined> {
  try {
    const { status, body } = await askDaemon(socket, "GET", "/v1/status");
    if (status !== 200) return undefined;
    return new Map((body as Status).services.map(({ name, listen }) => [name, listen]));
  } catch (cause) {
    if (cause instanceof NoDaemon) return undefined;
    throw cause;
  }
}

function print({ services, unseen, daemon }: Report): string {
  const head = ["PROTO", "ADDRESS", "PROGRAM", "USER", "UNIT", "REACH", "LIBWRAP", "TABLES", "FILTERED BY"];
  const rows = services.map((row) =>
    [
      row.protocol,
      printEndpoint({ kind: "tcp", host: row.address, port: row.port }),
      row.program ?? "?",
      row.user ?? "?",
      row.unit ?? "-",
      row.reach,
      row.libwrap === null ? "?" : row.libwrap ? "yes" : "no",
      row.tables.named === "name" ? "name it" : row.tables.named === "all" ? "by ALL" : "no",
      filterOf(row),
    ].map(escapePhrase),
  );
  const notes = services.flatMap(({ protocol, address, port, program, note }) =>
    note === undefined
      ? []
      : [
          `${escapePhrase(program ?? "?")} on ${protocol} ${printEndpoint({ kind: "tcp", host: address, port })}: ${note}`,
        ],
  );
  const rest = [
    ...(notes.length > 0 ? ["", ...notes] : []),
    ...(unseen.sockets > 0 ? ["", notSeen(unseen)] : []),
    ...(daemon ? [] : ["", "no daemon answers: what tcpwrapd fronts is told by the configuration"]),
  ];
  return printColumns([head, ...rows]) + rest.map((line) => `${line}\n`).join("");
}

function notSeen({ processes, sockets }: Report["unseen"]): string {
  const why =
    processes > 0
      ? `the files of ${processes} processes may not be seen; ask as root`
      : "no process that we see has them open, so the kernel or another container does";
  return `not seen: who owns ${sockets} of the sockets: ${why}`;
}

function filterOf({ filteredBy, fronted, backendOf, reach }: ServiceRow): string {
  if (filteredBy === "tcpwrapd") return `tcpwrapd (${fronted ?? ""})`;
  if (filteredBy !== null) return filteredBy;
  if (backendOf !== null && reach === "loopback") return `tcpwrapd, as backend of ${backendOf}`;
  return "nobody";
}
