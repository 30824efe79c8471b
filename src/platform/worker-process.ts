/** Starts worker processes, and tells a worker what it must know of its own process. */

import { type ChildProcess, fork } from "node:child_process";

/** How a worker process ended. */
export interface WorkerEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What only the supervisor may hear or use: the service manager's variables. Source: sd_notify(3), sd_listen_fds(3). */
const ownVariables = [
  "NOTIFY_SOCKET",
  "WATCHDOG_USEC",
  "WATCHDOG_PID",
  "LISTEN_PID",
  "LISTEN_FDS",
  "LISTEN_FDNAMES",
];

/**
 * Starts the program of the workers with a pipe to it. Standard output and error are ours, so its records survive us.
 *
 * @param program the file; run with the same Node and flags as we are
 * @param before a program that sets things and becomes the next one (exec), such as setpriv(1)
 */
export function startWorkerProcess(program: string, before: readonly string[] = []): ChildProcess {
  const env = { ...process.env };
  for (const name of ownVariables) delete env[name];
  const [execPath = process.execPath, ...args] = [...before, process.execPath, ...process.execArgv];
  return fork(program, [], {
    execPath,
    execArgv: args,
    env,
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    serialization: "advanced",
  });
}

/** Resolves when the process has ended, or could not be started. */
export async function endOf(child: ChildProcess): Promise<WorkerEnd> {
  return await new Promise((resolve) => {
    child.once("exit", (status, signal) => resolve({ status, signal }));
    child.once("error", () => {
      if (child.pid === undefined) resolve({ status: null, signal: null });
    });
  });
}

/** Lets a process live on without us: nothing of it keeps our event loop alive. */
export function letGo(child: ChildProcess): void {
  if (child.connected) child.disconnect();
  child.unref();
}

/** The worker's own end of the pipe. */
export function ownEnd(): NodeJS.Process {
  return process;
}

/**
 * In a worker: stop signals that a terminal sends to the whole group are the supervisor's business; SIGTERM asks us to drain.
 *
 * @param onOrphan the supervisor is gone
 */
export function watchWorkerSignals(onDrain: () => void, onOrphan: () => void): void {
  for (const signal of ["SIGINT", "SIGQUIT", "SIGHUP"] as const) process.on(signal, () => undefined);
  process.on("SIGTERM", onDrain);
  process.on("disconnect", onOrphan);
}

/** Ends this process; what must be written has been written. */
export function exit(status: number): never {
  process.exit(status);
}

/** The environment, for what the supervisor has not said. */
export function ownEnvironment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}
