/** What a supervisor and its workers tell each other, as data that can be sent. */

import type { Diagnostic } from "../access/types.ts";
import type { Held } from "../config/live.ts";
import type { Snapshot } from "../config/snapshot.ts";
import type { ForwardName } from "../identify/forward-names.ts";
import type { Policy } from "../policy.ts";
import type { Counters } from "../record/counters.ts";
import type { OpenSession } from "../record/entry.ts";
import type { SinkState } from "../record/sink.ts";
import type { BackendHealth } from "../relay/backends.ts";

/** What a worker shall do from now on. */
export interface Orders {
  readonly policy: Policy;
  /** The service of each listening socket, by the socket's key. */
  readonly routes: ReadonlyMap<string, string>;
  /** How many workers share the limits. */
  readonly workers: number;
  /** The number of the first generation of its tables, where it has none yet. */
  readonly firstGeneration: number;
  /** Generations up to this one have their record already. */
  readonly recordedGeneration: number;
  /** One worker of several writes what becomes of the tables. */
  readonly recordsTables: boolean;
  /** For a worker that has no tables yet: older ones that are in force in place of what the files say. */
  readonly held?: Held;
}

/** The tables that a worker has in force. */
export interface TablesNews {
  readonly generation: number;
  readonly allowRules: number;
  readonly denyRules: number;
  readonly diagnostics: readonly Diagnostic[];
  /** They are older than the files, and in force until one of these changes. */
  readonly isHeld?: true;
}

/** The tables that a worker would bring back, by their generation; 0 where it has none yet. */
export interface Base {
  readonly generation: number;
  /** Only for a supervisor that wants to give them to other workers. */
  readonly tables?: Snapshot;
}

/** What has become of a worker's tables when it was to go back. */
export interface WentBack {
  readonly news: TablesNews;
  /** The files that the tables in force stand for, where these are older: see `Held`. */
  readonly heldSince?: string;
}

/** How a worker stands. */
export interface WorkerReport {
  readonly pid: number;
  readonly sessions: readonly OpenSession[];
  readonly counters: ReadonlyMap<string, Readonly<Counters>>;
  readonly sinks: readonly SinkState[];
  /** How the backends of each service are, as its clients have met them. */
  readonly backends: ReadonlyMap<string, readonly BackendHealth[]>;
  /** The host names of the tables with their addresses (`names.forward`). */
  readonly forwardNames: readonly ForwardName[];
}

/** More of them than this are not sent from process to process. */
const maxDiagnostics = 100;

/** Tables as they are told of: with no more diagnostics than anybody reads. */
export function newsOf({ generation, allowRules, denyRules, diagnostics, isHeld }: TablesNews): TablesNews {
  return {
    generation,
    allowRules,
    denyRules,
    diagnostics: diagnostics.slice(0, maxDiagnostics),
    ...(isHeld && { isHeld }),
  };
}

/** Whether what a worker says of its tables reads as that: it may be in somebody else's hands. */
export function isNews(said: unknown): said is TablesNews {
  if (typeof said !== "object" || said === null) return false;
  const { generation, allowRules, denyRules, diagnostics } = said as Partial<
    Record<keyof TablesNews, unknown>
  >;
  return (
    [generation, allowRules, denyRules].every(isCount) &&
    Array.isArray(diagnostics) &&
    diagnostics.every((each) => typeof each === "object" && each !== null)
  );
}

/** The same for a number of things. */
export function isCount(said: unknown): said is number {
  return Number.isSafeInteger(said) && Number(said) >= 0;
}
