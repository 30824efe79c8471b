/** A worker as its supervisor sees it: a process of its own at the other end of a pipe, or a part of this process. */

import { fileURLToPath } from "node:url";
import type { Settings } from "../config/schema.ts";
import type { Snapshot } from "../config/snapshot.ts";
import type { ListenEndpoint } from "../listen/endpoint.ts";
import type { BoundSocket } from "../platform/bound-sockets.ts";
import { type Answers, Channel } from "../platform/channel.ts";
import type { Identity } from "../platform/identity.ts";
import { endOf, letGo, startWorkerProcess, type WorkerEnd } from "../platform/worker-process.ts";
import { confinement } from "../platform/privileges.ts";
import type { AllowedPrograms } from "./allowed-programs.ts";
import type { Level } from "../record/records.ts";
import { type ProgramCalls, type ProgramNews, programsFor } from "./remote-programs.ts";
import type { AllowedSources, SourceCalls } from "./remote-sources.ts";
import type { Base, Orders, TablesNews, WentBack, WorkerReport } from "./orders.ts";
import type { DrainLimits } from "../policy.ts";
import type { Worker } from "./worker.ts";

/** What a supervisor asks of a worker. Everything rejects with `ChannelClosed` when the worker is gone. */
export interface WorkerPort {
  readonly pid: number;
  configure(orders: Orders): Promise<TablesNews>;
  /** Rejects with an error named "ListenError". */
  listen(key: string, endpoint: ListenEndpoint, socket: BoundSocket): Promise<void>;
  unlisten(key: string): Promise<void>;
  /**
   * Stops to accept, at once, and ends after its last session. Resolves with the number of those that are left.
   *
   * @param limits when sessions that are left are cut, whether the supervisor lives or not
   */
  leave(limits: DrainLimits): Promise<number>;
  /** Ends every session at once. */
  stop(): Promise<void>;
  kick(id: string): Promise<boolean>;
  report(): Promise<WorkerReport>;
  /** See `Worker`. */
  keepBase(isCopied: boolean): Promise<Base>;
  confirm(): Promise<void>;
  goBack(tables?: Snapshot): Promise<WentBack | undefined>;
  /** Answers when the worker's event loop turns. */
  ping(): Promise<void>;
  /** Ends the process, whatever it is doing; a worker of this process has nothing to end. */
  kill(): void;
  /** It lives on by itself; to be called after `leave`. */
  letGo(): void;
  /** Resolves when the worker has ended, in whatever way. */
  readonly ended: Promise<WorkerEnd>;
}

/** What a worker is born with. */
export interface Birth {
  readonly log: Settings["log"];
  readonly level: Level;
  readonly flood: Settings["flood"];
  readonly relay: Settings["relay"];
  /** Where it answers about its sessions once it has outlived its supervisor. */
  readonly olderFolder: string;
  /** One worker of several says which relay it is. */
  readonly recordsRelay: boolean;
  /**
   * Who to become; the supervisor starts programs and makes sockets from clients' addresses then. Absent = stay who we are, and
   * do both ourselves.
   */
  readonly identity?: Identity;
}

/** What the supervisor asks of a worker process. */
export type WorkerCalls = ProgramNews & {
  readonly start: { argument: Birth; answer: undefined };
  readonly configure: { argument: Orders; answer: TablesNews };
  readonly listen: { argument: { key: string; endpoint: ListenEndpoint }; answer: undefined };
  readonly unlisten: { argument: string; answer: undefined };
  readonly leave: { argument: DrainLimits; answer: number };
  readonly stop: { argument: undefined; answer: undefined };
  readonly kick: { argument: string; answer: boolean };
  readonly keepBase: { argument: boolean; answer: Base };
  readonly confirm: { argument: undefined; answer: undefined };
  readonly goBack: { argument: Snapshot | undefined; answer: WentBack | undefined };
  readonly report: { argument: undefined; answer: WorkerReport };
  readonly ping: { argument: undefined; answer: undefined };
};

/** What a worker tells its supervisor. */
export type WorkerNews = {
  readonly tables: { argument: TablesNews; answer: undefined };
  /** How many sessions are open, from time to time. */
  readonly sessions: { argument: number; answer: undefined };
};

/** What a worker process asks of its supervisor. */
export type SupervisorCalls = WorkerNews & ProgramCalls & SourceCalls;

/** What the supervisor does for workers that have become somebody else. */
export interface Allowed {
  readonly programs: AllowedPrograms;
  readonly sources: AllowedSources;
}

/** Starts a worker process. Rejects when it does not come up; it is ended then. */
export async function startWorker(
  birth: Birth,
  answers: Answers<WorkerNews>,
  { programs, sources }: Allowed,
): Promise<WorkerPort> {
  const child = startWorkerProcess(program, birth.identity === undefined ? [] : confinement());
  const ended = endOf(child);
  const channel: Channel<WorkerCalls, SupervisorCalls> = new Channel<WorkerCalls, SupervisorCalls>(child, {
    ...answers,
    ...(birth.identity === undefined
      ? noServices
      : {
          ...programsFor(programs, (name, argument) => channel.ask(name, argument)),
          openFrom: (argument) => sources.openFrom(argument),
        }),
  });
  try {
    await channel.ask("start", birth);
  } catch (cause) {
    child.kill("SIGKILL");
    await ended;
    throw cause;
  }
  return {
    pid: child.pid ?? 0,
    configure: (orders) => channel.ask("configure", orders),
    listen: async (key, endpoint, socket) => channel.ask("listen", { key, endpoint }, socket.sendable),
    unlisten: (key) => channel.ask("unlisten", key),
    leave: (limits) => channel.ask("leave", limits),
    stop: () => channel.ask("stop", undefined),
    kick: (id) => channel.ask("kick", id),
    report: () => channel.ask("report", undefined),
    keepBase: (isCopied) => channel.ask("keepBase", isCopied),
    confirm: () => channel.ask("confirm", undefined),
    goBack: (tables) => channel.ask("goBack", tables),
    ping: () => channel.ask("ping", undefined),
    kill: () => void child.kill("SIGKILL"),
    letGo: () => letGo(child),
    ended,
  };
}

/** The worker's program, in the language that we are in ourselves: dist/worker-main.js, or the source in a test. */
const program = fileURLToPath(
  new URL(`./main${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url),
);

/** A worker that is still who we are does these things itself. */
const noServices: Answers<ProgramCalls & SourceCalls> = {
  openFrom: () => {
    throw new Error("sockets are made by the worker itself");
  },
  startProgram: () => {
    throw new Error("programs are started by the worker itself");
  },
  killProgram: () => undefined,
};

/** A worker that is a part of this process. */
export function ownWorker(worker: Worker, pid: number): WorkerPort {
  let left = (): void => undefined;
  const ended = new Promise<WorkerEnd>((resolve) => {
    left = () => void worker.ended().then(() => resolve({ status: 0, signal: null }));
  });
  return {
    pid,
    configure: async (orders) => worker.configure(orders),
    // The listener closes the descriptor, so nobody else may.
    listen: (key, endpoint, socket) => worker.listen(key, endpoint, socket.descriptor),
    unlisten: async (key) => worker.unlisten(key),
    // The daemon itself stops it at the end of the time: it ends together with this worker.
    leave: async (limits) => {
      worker.unlistenAll();
      worker.drain(limits);
      left();
      return worker.sessions;
    },
    stop: async () => worker.stop(),
    kick: async (id) => worker.kick(id),
    report: async () => worker.report(),
    // It does not die alone, so nobody needs its tables.
    keepBase: async () => worker.keepBase(false),
    confirm: async () => worker.confirm(),
    goBack: (tables) => worker.goBack(tables),
    ping: async () => undefined,
    kill: () => undefined,
    letGo: () => undefined,
    ended,
  };
}
