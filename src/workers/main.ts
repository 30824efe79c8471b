/** The program of a worker process: does what its supervisor asks, and outlives it for the sessions that are open. */

import { hostname } from "node:os";
import { answerAsOlder } from "../control/older.ts";
import { openRelay } from "./chosen-relay.ts";
import { descriptorOf } from "../platform/bound-sockets.ts";
import { Channel } from "../platform/channel.ts";
import { localPrograms } from "../platform/commands.ts";
import { dropPrivileges } from "../platform/privileges.ts";
import {
  descriptorLimit,
  effectiveUser,
  heapLimit,
  processId,
  setUmask,
  watchUncaught,
} from "../platform/process.ts";
import { exit, ownEnd, ownEnvironment, watchWorkerSignals } from "../platform/worker-process.ts";
import { type DrainLimits, drainLimits, endless, floodOf } from "../policy.ts";
import { Journal } from "../record/journal.ts";
import { openSinks } from "../record/sinks.ts";
import { loadTransparent } from "../relay/transparent.ts";
import { RemotePrograms } from "./remote-programs.ts";
import { remoteSources } from "./remote-sources.ts";
import { tellSessions } from "./session-count.ts";
import { uncaughtTeller } from "./uncaught.ts";
import { Worker } from "./worker.ts";
import type { Birth, SupervisorCalls, WorkerCalls } from "./port.ts";

/** Bounds how long records may keep us from ending. */
const flushMs = 2000;

/** So long a left-over worker serves on after SIGTERM where `process.drainTimeout` sets no limit. */
const lastMs = 5000;

interface Started {
  readonly worker: Worker;
  readonly journal: Journal;
  readonly olderFolder: string;
}

const remote = new RemotePrograms((name, argument, handle) => channel.ask(name, argument, handle));
const remoteOpenFrom = remoteSources((name, argument) => channel.askForHandle(name, argument));
let started: Started | undefined;
let isCharged = false;
let isLeaving = false;
let isLeftOver = false;
/** As the policy in force says. */
let limits = endless;

const channel: Channel<SupervisorCalls, WorkerCalls> = new Channel<SupervisorCalls, WorkerCalls>(ownEnd(), {
  start: async (birth) => {
    started = await start(birth);
    return undefined;
  },
  configure: (orders) => {
    isCharged = true;
    limits = drainLimits(orders.policy.settings);
    return running().worker.configure(orders);
  },
  listen: async ({ key, endpoint }, socket) => {
    const descriptor = descriptorOf(socket);
    if (descriptor === undefined) throw new Error(`no socket came with "${key}"`);
    await running().worker.listen(key, endpoint, descriptor);
    return undefined;
  },
  unlisten: (key) => {
    running().worker.unlisten(key);
    return undefined;
  },
  leave: (asked) => leave(asked),
  stop: () => {
    running().worker.stop();
    return undefined;
  },
  kick: (id) => running().worker.kick(id),
  report: () => running().worker.report(),
  keepBase: (isCopied) => running().worker.keepBase(isCopied),
  confirm: () => {
    running().worker.confirm();
    return undefined;
  },
  goBack: (tables) => running().worker.goBack(tables),
  ping: () => undefined,
  programSaid: (news) => remote.said(news),
  programEnded: (news) => remote.ended(news),
});

// A left-over worker has left long ago. SIGTERM comes when the machine goes down, and systemd would wait for our end.
watchWorkerSignals(() => leave(isLeftOver ? { ...limits, allMs: limits.allMs || lastMs } : endless), outlive);

/** Goes on without the supervisor; a limit of time that it has set still counts. */
function outlive(): void {
  isLeftOver = true;
  if (started === undefined || !isCharged) exit(0);
  remote.abandon();
  if (started.worker.sessions > 0) void answerForSessions(started);
  if (isLeaving) return;
  const left = leave(endless);
  const message = `the supervisor is gone; ${left} sessions are served to their end, nobody is let in`;
  started.journal.warn({ code: "supervisor-lost", message });
}

/** Whoever asks the next daemon for sessions finds ours too. */
async function answerForSessions({ worker, journal, olderFolder }: Started): Promise<void> {
  const warn = (message: string): void => journal.warn({ code: "control", message });
  const api = {
    sessions: async () => worker.report().sessions,
    kick: async (id: string) => worker.kick(id),
  };
  try {
    const server = await answerAsOlder(olderFolder, [effectiveUser()], processId(), api, warn);
    void worker.ended().then(() => server.close());
  } catch (cause) {
    warn(
      `the sessions that are left are not in "sessions": ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
}

async function start({
  log,
  level,
  flood,
  relay,
  olderFolder,
  recordsRelay,
  identity,
}: Birth): Promise<Started> {
  if (identity !== undefined) dropPrivileges(identity);
  const pid = processId();
  setUmask(0o022); // as tcpd: the commands of rules inherit it
  const sinks = openSinks(log, { pid, hostname: hostname(), environment: ownEnvironment() });
  const journal = new Journal({ sinks, level, flood: floodOf(flood) });
  watchUncaught(uncaughtTeller(journal, () => exit(70)));
  const worker = new Worker({
    journal,
    programs: identity === undefined ? localPrograms : remote,
    relay: await openRelay(relay, recordsRelay ? journal : undefined),
    sources: identity === undefined ? loadTransparent : async () => remoteOpenFrom,
    processId: pid,
    means: { maxDescriptors: descriptorLimit(), maxHeapBytes: heapLimit() },
    onTables: (news) => void tell("tables", news),
  });
  tellSessions(worker, (count) => void tell("sessions", count));
  return { worker, journal, olderFolder };
}

function running(): Started {
  if (started === undefined) throw new Error("not started");
  return started;
}

/** Stops to accept; the process ends after the last session. Those that are left at their limit are cut. */
function leave(asked: DrainLimits): number {
  const { worker, journal } = running();
  worker.unlistenAll();
  const left = worker.sessions;
  if (!isLeaving) {
    isLeaving = true;
    void worker
      .ended()
      .then(() => journal.close(flushMs))
      .then(() => exit(0));
  }
  worker.drain(asked);
  // Of several limits the first one counts.
  if (asked.allMs > 0) setTimeout(() => worker.stop(), asked.allMs);
  return left;
}

/** A supervisor that is gone hears nothing, which "disconnect" tells. */
async function tell<Name extends keyof SupervisorCalls>(
  name: Name,
  news: SupervisorCalls[Name]["argument"],
): Promise<void> {
  await channel.ask(name, news).catch(() => undefined);
}
