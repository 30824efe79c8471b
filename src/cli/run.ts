/** `tcpwrapd run`: the daemon, in the foreground. */

import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import type { Argv } from "yargs";
import { openRelay } from "../workers/chosen-relay.ts";
import { graveTables } from "../config/strict.ts";
import type { ControlApi } from "../control/api.ts";
import { OlderWorkers } from "../control/older.ts";
import { olderFolder } from "../control/older-folder.ts";
import { Daemon } from "../daemon.ts";
import { KeptSockets, wasKept } from "../kept-sockets.ts";
import { localPrograms, outlivingPrograms } from "../platform/commands.ts";
import { closeInherited } from "../platform/descriptors.ts";
import { dropPrivileges, findWorkerIdentity } from "../platform/privileges.ts";
import {
  descriptorLimit,
  heapLimit,
  effectiveUser,
  processId,
  setUmask,
  watchUncaught,
  watchReloadSignal,
  watchStopSignals,
} from "../platform/process.ts";
import { listenDescriptors, notifier } from "../platform/systemd.ts";
import { floodOf, inheritedSockets, type Policy } from "../policy.ts";
import { Journal } from "../record/journal.ts";
import { openSinks } from "../record/sinks.ts";
import { loadTransparent } from "../relay/transparent.ts";
import { AllowedPrograms } from "../workers/allowed-programs.ts";
import { AllowedSources } from "../workers/remote-sources.ts";
import { Worker } from "../workers/worker.ts";
import { type Allowed, ownWorker, startWorker } from "../workers/port.ts";
import type { WorkforceOptions } from "../workers/workforce.ts";
import { ControlSocket } from "./control-socket.ts";
import { exit as endProcess } from "../platform/worker-process.ts";
import { tellSessions } from "../workers/session-count.ts";
import { uncaughtTeller } from "../workers/uncaught.ts";
import { exitStatus } from "./exit-status.ts";
import type { AddCommand, Io } from "./io.ts";
import { requireTables } from "./open.ts";
import {
  ConfigurationError,
  logFormats,
  type LogFlags,
  type ReadSettings,
  readSettings,
} from "./settings.ts";
import { checkProtected, type ProtectFlags, withProtectFlag } from "./protect.ts";
import { withSharedFlags } from "./shared-flags.ts";
import { requireSources } from "./sources.ts";
import { version } from "./version.ts";
import { feedWatchdog } from "./watchdog.ts";

/** A signal that has ended a worker reaches us too within this time. */
const signalMs = 300;

interface RunFlags extends ProtectFlags, LogFlags {
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly open: boolean;
}

/** Adds the command. */
export const runCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "run",
    "serve, in the foreground",
    (command) =>
      withProtectFlag(withLogFlags(withSharedFlags(command)))
        .option("open", {
          type: "boolean",
          default: false,
          describe: "start without any table too, where they are required (in the container image)",
        })
        .example("$0 run --service sshd=0.0.0.0:22,127.0.0.1:2222", "in front of sshd")
        .example("$0 run --service mysqld=[::]:3306,unix:/run/mysqld/mysqld.sock", "in front of MySQL")
        .example("$0 run -c /etc/tcpwrapd/tcpwrapd.yaml", "all that a file says"),
    async (flags) => {
      const asked = flags as unknown as RunFlags;
      if (!(await checkProtected(asked, io))) return exit(exitStatus.configuration);
      const read = async (): Promise<ReadSettings> => {
        const policy = await readSettings(asked, io.environment);
        requireTables(policy.settings.access, policy.inlineTables, io.environment, asked.open);
        const grave = await graveTables(policy.settings, policy.inlineTables);
        if (grave.length > 0) throw new ConfigurationError(grave);
        return policy;
      };
      exit(await runDaemon(read, asked.logLevel, io));
    },
  );

/**
 * Runs a daemon until it is told to stop: the first signal drains it, or leaves its sessions to the workers; the second ends it
 * at once. SIGHUP reads the settings anew.
 *
 * @param onReady hears where it listens
 * @returns the exit status
 * @throws ConfigurationError
 */
export async function runDaemon(
  read: () => Promise<ReadSettings>,
  level: RunFlags["logLevel"],
  io: Io,
  onReady?: (addresses: readonly string[]) => void,
): Promise<number> {
  const signals = watchSignals();
  const policy = await readPolicy(read).catch((cause: unknown) => {
    signals.close();
    throw cause;
  });
  const { settings } = policy;
  const { sockets, problems } = listenDescriptors(io.environment);
  closeInherited(new Set(sockets.map(({ fd }) => fd)));
  setUmask(0o022); // as tcpd: the commands of rules inherit it
  const context = { pid: processId(), hostname: hostname(), environment: io.environment };
  const journal = new Journal({
    sinks: openSinks(settings.log, context),
    level,
    flood: floodOf(settings.flood),
  });
  const onTrouble = (message: string): void => journal.warn({ code: "service-manager", message });
  const manager = notifier(io.environment, onTrouble);
  let watchdog: NodeJS.Timeout | undefined;
  const control = new ControlSocket(settings.control, journal);
  try {
    const identity = await identityOf(settings, journal);
    const hasProcesses = settings.process.workers > 0;
    const workerUid = identity?.uid ?? effectiveUser();
    const isDropped = identity !== undefined && !hasProcesses;
    await requireSources(settings, isDropped);
    // The sessions that it has handed over must not keep it from ending: the next daemon waits for that.
    const programs = new AllowedPrograms(outlivingPrograms);
    const sources = new AllowedSources();
    programs.use(policy);
    sources.use(policy);
    const daemon = await Daemon.start({
      policy,
      readPolicy: async () => {
        const next = await readPolicy(read);
        await requireSources(next.settings, isDropped);
        programs.use(next);
        sources.use(next);
        return next;
      },
      journal,
      hasProcesses,
      startWorker: workerStarter(policy, journal, level, identity, { programs, sources }),
      inherited: inheritedSockets(
        settings,
        sockets.filter((socket) => !wasKept(socket)),
        problems,
      ),
      kept: new KeptSockets(sockets, manager),
      notifier: manager,
      beforeReady: async (api: ControlApi) => {
        await control.open(api, hasProcesses ? workerUid : undefined);
        if (isDropped) dropPrivileges(identity);
      },
      older: new OlderWorkers(olderFolder(settings.control.socket), [effectiveUser(), workerUid]),
      version: version(),
      pid: processId(),
      configFile: policy.configFile,
    });
    signals.lead(daemon);
    watchdog = feedWatchdog(manager, daemon);
    onReady?.(daemon.addresses);
    await Promise.race([signals.stopped, daemon.drainAsked]);
    // Who asks for a drain wants the sessions to be waited for, whatever a restart does with them.
    const isKept = !daemon.isDrainAsked && keepsSessions(settings, manager.isHeard);
    await (isKept ? daemon.handOver() : daemon.finish());
    return exitStatus.ok;
  } catch (cause) {
    await journal.close(1000);
    // A terminal's Ctrl-C ends workers too that are only on their way up; nothing has failed then. Their end may be heard before it.
    const isWorkerLost = cause instanceof Error && cause.name === "ChannelClosed";
    if (isWorkerLost) await Promise.race([signals.stopped, pause(signalMs)]);
    if (isWorkerLost && signals.isStopped()) return exitStatus.ok;
    // A socket that cannot be had, a user that nobody is: whatever says what to do about it.
    if (!(cause instanceof Error && "hint" in cause)) throw cause;
    io.errors.write(`tcpwrapd: ${cause.message}; ${String(cause.hint)}\n`);
    return exitStatus.cannotStart;
  } finally {
    signals.close();
    clearInterval(watchdog);
    control.close();
    manager.close();
  }
}

async function readPolicy(read: () => Promise<ReadSettings>): Promise<ReadSettings> {
  const policy = await read();
  if (Object.keys(policy.settings.services).length > 0) return policy;
  const message = "no service is configured";
  const hint = "add --service sshd=0.0.0.0:22,127.0.0.1:2222, or a services: section to the file";
  throw new ConfigurationError([
    { file: "configuration", line: 0, severity: "error", code: "no-service", message, hint },
  ]);
}

/** Who the workers shall become; undefined = they stay who we are. */
async function identityOf(settings: Policy["settings"], journal: Journal) {
  const found = await findWorkerIdentity(settings.process);
  if (found.kind === "warn") journal.warn(found);
  return found.kind === "become" ? found.identity : undefined;
}

function workerStarter(
  { settings }: Policy,
  journal: Journal,
  level: RunFlags["logLevel"],
  identity: Awaited<ReturnType<typeof identityOf>>,
  allowed: Allowed,
): WorkforceOptions["start"] {
  const { log, flood, relay } = settings;
  return async (answers, index) => {
    const isFirst = index === 0;
    if (settings.process.workers > 0) {
      const birth = {
        log,
        level,
        flood,
        relay,
        olderFolder: olderFolder(settings.control.socket),
        recordsRelay: isFirst,
        ...(identity !== undefined && { identity }),
      };
      return await startWorker(birth, answers, allowed);
    }
    watchUncaught(uncaughtTeller(journal, () => endProcess(exitStatus.internal)));
    const worker = new Worker({
      journal,
      programs: localPrograms,
      relay: await openRelay(relay, journal),
      sources: loadTransparent,
      processId: processId(),
      means: { maxDescriptors: descriptorLimit(), maxHeapBytes: heapLimit() },
      onTables: (news) => void answers.tables(news, undefined),
    });
    tellSessions(worker, (count) => void answers.sessions(count, undefined));
    return ownWorker(worker, processId());
  };
}

/** Whether SIGTERM leaves the sessions to the workers; they need processes of their own for that. */
function keepsSessions({ process: { onRestart, workers } }: Policy["settings"], isManaged: boolean): boolean {
  return workers > 0 && (onRestart ?? (isManaged ? "keep" : "drain")) === "keep";
}

/** From here on a signal is a stop or a reload, also while we start. */
function watchSignals() {
  let daemon: Daemon | undefined;
  let isReloadDue = false;
  let stopCount = 0;
  let unwatchStop = (): void => undefined;
  const stopped = new Promise<void>((resolve) => {
    unwatchStop = watchStopSignals((count) => {
      stopCount = count;
      resolve();
      if (count > 1) void daemon?.stop();
    });
  });
  const unwatchReload = watchReloadSignal(() => {
    if (daemon === undefined) isReloadDue = true;
    else void daemon.reload();
  });
  return {
    stopped,
    isStopped: (): boolean => stopCount > 0,
    lead: (started: Daemon): void => {
      daemon = started;
      if (isReloadDue) void daemon.reload();
      if (stopCount > 1) void daemon.stop();
    },
    close: (): void => {
      unwatchStop();
      unwatchReload();
    },
  };
}

function withLogFlags<Flags>(parser: Argv<Flags>): Argv<Flags> {
  return parser
    .option("log-format", {
      choices: logFormats,
      describe: "form of the records on standard output",
    })
    .option("workers", {
      type: "number",
      requiresArg: true,
      describe: "processes that serve connections; 0 = everything in one process (1)",
    })
    .option("log-level", {
      choices: ["debug", "info", "warn", "error"],
      default: "info",
      describe: "least level written",
    });
}
