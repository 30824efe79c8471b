/** `tcpwrapd run`: the daemon, in the foreground. */

import { hostname } from "node:os";
import type { Argv } from "yargs";
import { Daemon, keepsSessions } from "../daemon.ts";
import { localPrograms } from "../platform/commands.ts";
import { descriptorLimit, processId, watchStopSignals } from "../platform/process.ts";
import { Journal } from "../record/journal.ts";
import { openSinks } from "../record/sinks.ts";
import { chooseRelay } from "../relay/choose.ts";
import { Worker } from "../worker.ts";
import { ownWorker, startWorker } from "../worker-port.ts";
import { exitStatus } from "./exit-status.ts";
import type { AddCommand, Io } from "./io.ts";
import {
  ConfigurationError,
  type LogFlags,
  type ReadSettings,
  readSettings,
  type SharedFlags,
} from "./settings.ts";
import { withSharedFlags } from "./shared-flags.ts";

interface RunFlags extends SharedFlags, LogFlags {
  readonly logLevel: "debug" | "info" | "warn" | "error";
}

/** Adds the command. */
export const runCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "run",
    "serve, in the foreground",
    (command) =>
      withLogFlags(withSharedFlags(command))
        .example("$0 run --service sshd=0.0.0.0:22,127.0.0.1:2222", "in front of sshd")
        .example("$0 run --service mysqld=[::]:3306,unix:/run/mysqld/mysqld.sock", "in front of MySQL")
        .example("$0 run -c /etc/tcpwrapd/tcpwrapd.yaml", "all that a file says"),
    async (flags) => {
      const asked = flags as unknown as RunFlags;
      exit(await runDaemon(await readSettings(asked, io.environment), asked.logLevel, io));
    },
  );

/**
 * Runs a daemon until it is told to stop: the first signal drains it, the second ends it at once.
 *
 * @param onReady hears where it listens
 * @returns the exit status
 * @throws ConfigurationError
 */
export async function runDaemon(
  { settings, inlineTables }: ReadSettings,
  level: RunFlags["logLevel"],
  io: Io,
  onReady?: (addresses: readonly string[]) => void,
): Promise<number> {
  if (Object.keys(settings.services).length === 0) {
    const message = "no service is configured";
    const hint = "add --service sshd=0.0.0.0:22,127.0.0.1:2222, or a services: section to the file";
    throw new ConfigurationError([
      { file: "configuration", line: 0, severity: "error", code: "no-service", message, hint },
    ]);
  }
  const sinks = openSinks(settings.log, {
    pid: processId(),
    hostname: hostname(),
    environment: io.environment,
  });
  const journal = new Journal({ sinks, level });
  // From here on a signal is a stop, also while we start.
  let daemon: Daemon | undefined;
  let unwatch = (): void => undefined;
  const stopped = new Promise<void>((resolve) => {
    unwatch = watchStopSignals((count) => {
      resolve();
      if (count > 1) void daemon?.stop();
    });
  });
  try {
    const { log, process } = settings;
    const hasProcesses = process.workers > 0;
    const relay = (await chooseRelay("auto")).relay;
    daemon = await Daemon.start({
      policy: { settings, inlineTables },
      journal,
      hasProcesses,
      startWorker: async (answers) =>
        hasProcesses
          ? await startWorker({ log, level }, answers)
          : ownWorker(
              new Worker({
                journal,
                programs: localPrograms,
                relay,
                processId: processId(),
                maxDescriptors: descriptorLimit(),
                onTables: (news) => void answers.tables(news, undefined),
              }),
              processId(),
            ),
    });
    onReady?.(daemon.addresses);
    await stopped;
    if (keepsSessions(settings, (io.environment["NOTIFY_SOCKET"] ?? "") !== "")) await daemon.handOver();
    else await daemon.drain();
    return exitStatus.ok;
  } catch (cause) {
    await journal.close(1000);
    if (!(cause instanceof Error && cause.name === "ListenError" && "hint" in cause)) throw cause;
    io.errors.write(`tcpwrapd: ${cause.message}; ${String(cause.hint)}\n`);
    return exitStatus.cannotStart;
  } finally {
    unwatch();
  }
}

function withLogFlags<Flags>(parser: Argv<Flags>): Argv<Flags> {
  return parser
    .option("log-format", {
      choices: ["json", "text", "pretty"],
      describe: "form of the records on standard output",
    })
    .option("log-level", {
      choices: ["debug", "info", "warn", "error"],
      default: "info",
      describe: "least level written",
    });
}
