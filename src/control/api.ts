/** What the control socket tells and does, as values; docs/control.md lists the same. */

import type { Diagnostic } from "../access/types.ts";
import type { Counters } from "../record/counters.ts";
import type { OpenSession } from "../record/entry.ts";
import type { SinkState } from "../record/sink.ts";

/** How the daemon stands. */
export interface Status {
  readonly version: string;
  readonly pid: number;
  /** Path of the configuration file, whether or not there is one. */
  readonly configuration: string;
  readonly state: "serving" | "draining";
  readonly startedAt: string;
  readonly uptimeMs: number;
  readonly services: readonly ServiceStatus[];
  /** Connections that are open, undecided ones too; those of older workers are not among them. */
  readonly sessions: number;
  readonly tables: {
    readonly generation: number;
    readonly allowRules: number;
    readonly denyRules: number;
    readonly errors: number;
    readonly warnings: number;
    /** Why the tables in force are older than the files; absent where they are not. */
    readonly kept?: readonly Diagnostic[];
  };
  readonly workers: readonly { readonly pid: number; readonly sessions: number }[];
  /** Workers that have outlived an earlier daemon, until their last session ends. */
  readonly olderWorkers: readonly {
    readonly pid: number;
    /** Null where it does not answer. */
    readonly sessions: number | null;
  }[];
  /** Workers that died since the start, and the sessions that they had when they were last heard of. */
  readonly lost: { readonly workers: number; readonly sessions: number };
  readonly log: readonly SinkState[];
  /** Host names of the tables with their own addresses; none where `names.forward` is off. */
  readonly forwardNames: readonly {
    readonly name: string;
    readonly addresses: readonly string[];
    /** Since DNS last gave an answer; absent = never. */
    readonly ageMs?: number;
    /** How the last question ended. */
    readonly status: string;
  }[];
  /** Present while a reload waits for its confirmation. */
  readonly unconfirmed?: { readonly untilMs: number };
  /** What became of the last reload; absent where there was none since the start. */
  readonly lastReload?: LastReload;
  /** Reloads since the start that were refused. */
  readonly refusedReloads: number;
}

/** A reload, by whatever way it was asked for. */
export interface LastReload {
  readonly at: string;
  readonly ok: boolean;
  /** Why it was refused. */
  readonly reason?: string;
}

export interface ServiceStatus extends Counters {
  readonly name: string;
  /** Where it listens, as the kernel says. */
  readonly listen: readonly string[];
  /** How its backends are, as its clients have met them; none where a program serves it. */
  readonly backends: readonly BackendStatus[];
}

export interface BackendStatus {
  /** As in the configuration. */
  readonly address: string;
  /** Dials that failed since the last one that did not. */
  readonly failures: number;
  /** Others are preferred for so long; 0 = it does not rest. */
  readonly restsForMs: number;
  /** Sessions that it closed within a second and without a byte. */
  readonly quickCloses: number;
  /** Sessions that it has now, those that are being dialled included. */
  readonly sessions: number;
}

/** The tables in force. */
export interface TablesStatus {
  readonly generation: number;
  readonly allowRules: number;
  readonly denyRules: number;
  readonly diagnostics: readonly Diagnostic[];
}

/** What became of a reload: in force, or refused for a reason, with everything as it was before. */
export type ReloadOutcome =
  | {
      readonly reloaded: true;
      /** Listening sockets that are new, and those that are gone: "sshd on 0.0.0.0:22". */
      readonly opened: readonly string[];
      readonly closed: readonly string[];
      /** Keys that have changed and count only after a restart. */
      readonly needsRestart: readonly string[];
      /** Present where the reload is undone unless it is confirmed in time. */
      readonly confirmWithinMs?: number;
    }
  | { readonly reloaded: false; readonly reason: string };

/** A session as the control socket tells it. */
export interface ListedSession extends OpenSession {
  /** The process that serves it, where that is a worker which has outlived its daemon. */
  readonly olderWorker?: number;
}

/** What the socket of a worker leads to that has outlived its daemon. */
export interface SessionsApi {
  sessions(): Promise<readonly ListedSession[]>;
  /** Cuts one session; false when there is none of that id. */
  kick(id: string): Promise<boolean>;
}

/** What the socket leads to. Nothing of it rejects but for a bug. */
export interface ControlApi extends SessionsApi {
  status(): Promise<Status>;
  tables(): Promise<TablesStatus>;
  /** @param confirmMs undo it unless `confirm` comes within so long; absent = it stays */
  reload(confirmMs?: number): Promise<ReloadOutcome>;
  /** False when nothing waits for it. */
  confirm(): Promise<boolean>;
  /** Stops to accept; the daemon ends after the last session. Gives the number of those that are left. */
  drain(): Promise<number>;
}
