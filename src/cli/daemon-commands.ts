/** `status`, `sessions`, `reload`, `confirm`, `drain` and `kick`: what a running daemon is asked and told. */

import { parseDuration } from "../config/units.ts";
import type { BackendStatus, ListedSession, ReloadOutcome, Status } from "../control/api.ts";
import { escapePhrase } from "../record/escape.ts";
import { refusedWords, sessionsLeft } from "../status.ts";
import { ask, type AskFlags, type Question, withAskFlags } from "./ask.ts";
import { exitStatus } from "./exit-status.ts";
import { type AddCommand, UsageError } from "./io.ts";
import { printable } from "./printable.ts";
import { printDiagnostic } from "./settings.ts";
import { printColumns } from "./table.ts";
import { checkProtected, withProtectFlag, type ProtectFlags } from "./protect.ts";

/** Adds `status`. */
export const statusCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "status",
    "how the running daemon stands",
    (command) => withAskFlags(command).example("$0 status", "of the daemon with the default configuration"),
    async (flags) =>
      exit(await ask({ method: "GET", path: "/v1/status", print: printStatus }, asked(flags), io)),
  );

/** Adds `sessions`. */
export const sessionsCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "sessions",
    "the connections that are open now",
    (command) => withAskFlags(command).example("$0 sessions --json", "with all that is known of them"),
    async (flags) =>
      exit(await ask({ method: "GET", path: "/v1/sessions", print: printSessions }, asked(flags), io)),
  );

/** Adds `reload`. */
export const reloadCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "reload",
    "read the configuration anew; what is wrong with it is told, and the old one stays",
    (command) =>
      withProtectFlag(withAskFlags(command))
        .option("confirm", {
          type: "string",
          requiresArg: true,
          describe: 'undo it, and edits of the tables, unless "tcpwrapd confirm" comes within so long',
        })
        .example("$0 reload", "after an edit of tcpwrapd.yaml; the tables need none")
        .example("$0 reload --confirm 60s", "over ssh: what locks you out is taken back after a minute"),
    async (flags) => {
      const given = flags as unknown as AskFlags & ProtectFlags & { readonly confirm?: string };
      const confirmMs = given.confirm === undefined ? undefined : parseDuration(given.confirm);
      if (given.confirm !== undefined && (confirmMs === undefined || confirmMs === 0))
        throw new UsageError(`"${given.confirm}" is no duration; write 60s, 5m or 1h`);
      if (!(await checkProtected(given, io))) return exit(exitStatus.configuration);
      const question: Question = {
        method: "POST",
        path: "/v1/reload",
        body: confirmMs === undefined ? {} : { confirmMs },
        print: printReload,
        refusedStatus: exitStatus.configuration,
        readsConfiguration: true,
      };
      exit(await ask(question, given, io));
    },
  );

/** Adds `confirm`. */
export const confirmCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "confirm",
    'keep what "reload --confirm" has put in force',
    (command) => withAskFlags(command).example("$0 confirm", "if you can still type this"),
    async (flags) =>
      exit(await ask({ method: "POST", path: "/v1/confirm", print: () => "confirmed\n" }, asked(flags), io)),
  );

/** Adds `drain`. */
export const drainCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "drain",
    "let nobody in any more; the daemon ends after its last session",
    (command) => withAskFlags(command).example("$0 drain", "before the machine goes down"),
    async (flags) =>
      exit(await ask({ method: "POST", path: "/v1/drain", print: printDrain }, asked(flags), io)),
  );

/** Adds `kick`. */
export const kickCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "kick <id>",
    "cut one session at once, by the id in its records",
    (command) =>
      withAskFlags(command)
        .positional("id", {
          type: "string",
          demandOption: true,
          describe: "as in the records and in sessions",
        })
        .example("$0 kick 1hq3k0v5s7m2k000", "the session with this id"),
    async (flags) => {
      const given = flags as unknown as AskFlags & { readonly id: string };
      const path = `/v1/sessions/${encodeURIComponent(given.id)}`;
      exit(await ask({ method: "DELETE", path, print: () => "kicked\n" }, given, io));
    },
  );

/** yargs types what it parses by the last option only. */
function asked(flags: unknown): AskFlags {
  return flags as AskFlags;
}

function printStatus(body: unknown): string {
  const { version, pid, state, startedAt, sessions, tables, services, workers, lost, log } = body as Status;
  const { unconfirmed, lastReload, refusedReloads } = body as Status;
  // After an upgrade of the package a daemon of before runs on until it is restarted; it does not know all of this.
  const { olderWorkers = [] } = body as Partial<Status>;
  const lines = [
    `tcpwrapd ${version}, process ${pid}, ${state} since ${startedAt}, ${sessions} sessions`,
    `tables: generation ${tables.generation}, ${tables.allowRules} + ${tables.denyRules} rules, ${tables.errors} errors, ${tables.warnings} warnings`,
    ...(tables.kept ?? []).map((each) => `tables: ${printDiagnostic(each)}`),
  ];
  for (const each of services) {
    const refused = Object.values(each.refused).reduce((sum, count) => sum + count, 0);
    lines.push(
      `${each.name} on ${each.listen.join(", ") || "nothing"}: ${each.open} open, ${each.accepted} accepted, ${refused} refused, ${each.twisted} twisted, ${each.upBytes} bytes up, ${each.downBytes} bytes down`,
    );
  }
  for (const { address, sessions: count } of services.flatMap(({ backends }) =>
    backends.length > 1 ? (backends as readonly Partial<BackendStatus>[]) : [],
  ))
    if (count !== undefined) lines.push(`backend ${address}: ${count} sessions`);
  for (const { address, failures, restsForMs, quickCloses } of services.flatMap(({ backends }) => backends)) {
    if (failures > 0)
      lines.push(`backend ${address}: ${failures} dials failed, rests for ${Math.ceil(restsForMs / 1000)} s`);
    if (quickCloses > 0)
      lines.push(`backend ${address}: closed ${quickCloses} sessions at once, without a byte`);
  }
  for (const worker of workers) lines.push(`worker ${worker.pid}: ${worker.sessions} sessions`);
  for (const older of olderWorkers)
    lines.push(
      `older worker ${older.pid}: ${older.sessions === null ? "does not answer" : `${older.sessions} sessions, served to their end`}`,
    );
  if (lost.workers > 0)
    lines.push(
      `${lost.workers} ${lost.workers === 1 ? "worker" : "workers"} died, with about ${lost.sessions} sessions`,
    );
  for (const { name, trouble, lostLines } of log) {
    if (trouble !== undefined || lostLines > 0)
      lines.push(`${name}: ${escapePhrase(trouble ?? "delivers again")}, ${lostLines} lines lost`);
  }
  if (lastReload?.ok === false)
    lines.push(printable(`${refusedWords(lastReload)}; everything is as it was before`));
  if (refusedReloads > 0)
    lines.push(`${refusedReloads} ${refusedReloads === 1 ? "reload" : "reloads"} refused since the start`);
  if (unconfirmed !== undefined)
    lines.push(`not confirmed yet; undone at ${new Date(unconfirmed.untilMs).toISOString()}`);
  return `${lines.join("\n")}\n`;
}

function printSessions(body: unknown): string {
  const { sessions } = body as { readonly sessions: readonly ListedSession[] };
  const rows = sessions.map(({ id, service, state, client, backend = "-", traffic, ageMs, olderWorker }) => [
    id,
    service,
    olderWorker === undefined ? state : `${state} by ${olderWorker}`,
    `${client.user === undefined ? "" : `${client.user}@`}${client.name ?? client.address} (${client.address})`,
    backend,
    String(traffic?.upBytes ?? "-"),
    String(traffic?.downBytes ?? "-"),
    `${Math.round(ageMs / 1000)}s`,
  ]);
  const table = [["ID", "SERVICE", "STATE", "CLIENT", "BACKEND", "UP", "DOWN", "AGE"], ...rows].map((row) =>
    row.map(escapePhrase),
  );
  return printColumns(table);
}

function printReload(body: unknown): string {
  const outcome = body as Extract<ReloadOutcome, { reloaded: true }>;
  const lines = [
    "reloaded",
    ...outcome.opened.map((front) => `opened ${front}`),
    ...outcome.closed.map((front) => `closed ${front}; its sessions go on`),
    ...outcome.needsRestart.map((key) => `"${key}" has changed, and counts after a restart`),
  ];
  if (outcome.confirmWithinMs !== undefined)
    lines.push(`undone in ${outcome.confirmWithinMs / 1000} s, unless you say: tcpwrapd confirm`);
  return `${lines.join("\n")}\n`;
}

function printDrain(body: unknown): string {
  const { sessions } = body as { readonly sessions: number };
  return `nobody is let in any more; ${sessionsLeft(sessions)}\n`;
}
