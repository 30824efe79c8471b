/** Puts together how the daemon stands, from what its workers report. */

import type { BackendStatus, LastReload, ServiceStatus, Status } from "./control/api.ts";
import { type Front, printFront } from "./fronts.ts";
import type { Diagnostic } from "./access/types.ts";
import { addCounters, createCounters } from "./record/counters.ts";
import { printEndpoint } from "./listen/endpoint.ts";
import type { SinkState } from "./record/sink.ts";
import type { BackendHealth } from "./relay/backends.ts";
import type { TablesNews, WorkerReport } from "./workers/orders.ts";

/** What the supervisor knows by itself. */
export type Own = Pick<
  Status,
  | "version"
  | "pid"
  | "configuration"
  | "state"
  | "lost"
  | "unconfirmed"
  | "lastReload"
  | "refusedReloads"
  | "olderWorkers"
> & {
  readonly startedAtMs: number;
  readonly uptimeMs: number;
  readonly fronts: readonly Front[];
  readonly tables: TablesNews | undefined;
};

/** The whole, for the control socket. */
export function statusOf(own: Own, reports: readonly WorkerReport[]): Status {
  const { version, pid, configuration, state, lost, unconfirmed, lastReload, refusedReloads } = own;
  const { startedAtMs, uptimeMs, tables } = own;
  return {
    version,
    pid,
    configuration,
    state,
    startedAt: new Date(startedAtMs).toISOString(),
    uptimeMs,
    services: servicesOf(own.fronts, reports),
    sessions: reports.reduce((sum, { sessions }) => sum + sessions.length, 0),
    tables: {
      generation: tables?.generation ?? 0,
      allowRules: tables?.allowRules ?? 0,
      denyRules: tables?.denyRules ?? 0,
      errors: count(tables?.diagnostics, "error"),
      warnings: count(tables?.diagnostics, "warning"),
      ...keptIn(tables),
    },
    workers: reports.map((report) => ({ pid: report.pid, sessions: report.sessions.length })),
    olderWorkers: own.olderWorkers,
    lost,
    log: sinksOf(reports),
    // Every worker follows the same names; one of them is enough.
    forwardNames: reports[0]?.forwardNames ?? [],
    ...(unconfirmed === undefined ? undefined : { unconfirmed }),
    ...(lastReload === undefined ? undefined : { lastReload }),
    refusedReloads,
  };
}

/** How many sessions a daemon that drains still has, in words. */
export function sessionsLeft(sessions: number): string {
  return sessions === 1 ? "1 session is left" : `${sessions} sessions are left`;
}

/** One line for `systemctl status`. */
export function statusLine(
  sessions: number,
  tables: TablesNews | undefined,
  isDraining: boolean,
  lastReload?: LastReload,
): string {
  if (isDraining) return `draining, ${sessionsLeft(sessions)}`;
  const errors = count(tables?.diagnostics, "error");
  const { generation = 0, allowRules = 0, denyRules = 0 } = tables ?? {};
  const trouble = errors > 0 ? `, ${errors} errors in them` : "";
  const refused = lastReload?.ok === false ? `; ${refusedWords(lastReload)}` : "";
  return `${sessions} sessions; tables generation ${generation}, ${allowRules} + ${denyRules} rules${trouble}${refused}`;
}

/** A reload that was refused, in words. */
export function refusedWords({ at, reason = "" }: LastReload): string {
  return `the reload at ${at} was refused: ${reason.replaceAll("\n", "; ")}`;
}

/** Present while the tables in force are older than the files. */
function keptIn(tables: TablesNews | undefined): Pick<Status["tables"], "kept"> {
  const kept =
    tables?.diagnostics.filter(({ code }) => code === "table-kept" || code === "table-refused") ?? [];
  return kept.length === 0 ? {} : { kept };
}

function servicesOf(fronts: readonly Front[], reports: readonly WorkerReport[]): ServiceStatus[] {
  const names = new Set([
    ...fronts.map(({ plan }) => plan.service),
    ...reports.flatMap(({ counters }) => [...counters.keys()]),
  ]);
  return Array.from(names, (name) => ({
    name,
    listen: fronts
      .filter(({ plan }) => plan.service === name)
      .map((front) => printFront(front).slice(name.length + " on ".length)),
    ...reports.reduce(
      (sum, { counters }) => addCounters(sum, counters.get(name) ?? createCounters()),
      createCounters(),
    ),
    backends: backendsOf(reports.flatMap(({ backends }) => backends.get(name) ?? [])),
  }));
}

/** One for each address: the worst of what the workers have met, and the sum of what they have counted. */
function backendsOf(found: readonly BackendHealth[]): BackendStatus[] {
  const byAddress = new Map<string, BackendStatus>();
  for (const { address: endpoint, failures, restsForMs, quickCloses, sessions } of found) {
    const address = printEndpoint(endpoint);
    const other = byAddress.get(address);
    byAddress.set(address, {
      address,
      failures: Math.max(failures, other?.failures ?? 0),
      restsForMs: Math.ceil(Math.max(restsForMs, other?.restsForMs ?? 0)),
      quickCloses: quickCloses + (other?.quickCloses ?? 0),
      sessions: sessions + (other?.sessions ?? 0),
    });
  }
  return [...byAddress.values()];
}

/** One for each name: the worst trouble, and the sum of what was lost. */
function sinksOf(reports: readonly WorkerReport[]): SinkState[] {
  const byName = new Map<string, SinkState>();
  for (const state of reports.flatMap(({ sinks }) => sinks)) {
    const other = byName.get(state.name);
    const trouble = state.trouble ?? other?.trouble;
    byName.set(state.name, {
      name: state.name,
      ...(trouble === undefined ? undefined : { trouble }),
      queuedLines: state.queuedLines + (other?.queuedLines ?? 0),
      lostLines: state.lostLines + (other?.lostLines ?? 0),
    });
  }
  return [...byName.values()];
}

function count(diagnostics: readonly Diagnostic[] = [], severity: Diagnostic["severity"]): number {
  return diagnostics.filter((found) => found.severity === severity).length;
}
