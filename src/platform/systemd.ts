/** What a daemon says to systemd, and what systemd hands to it. */
import { fstatSync, readFileSync } from "node:fs";

import notify from "systemd-notify";

import { type DescriptorStore, openDescriptorStore } from "./descriptor-store.ts";
import { UnixDatagram } from "./unix-datagram.ts";

type Environment = Record<string, string | undefined>;

/** The first descriptor that systemd passes. Source: sd_listen_fds(3), SD_LISTEN_FDS_START. */
const FIRST_DESCRIPTOR = 3;

/** More than this was not meant; the number comes from the environment. */
const MAX_DESCRIPTORS = 1024;

/** The systemd-notify program waits for the manager to have read its message; it gets this long. */
const PROGRAM_MS = 6000;

/** A full socket of the manager is tried again so often, so long apart. */
const RETRIES = 100;
const RETRY_MS = 50;

/** The capability that lets a process speak for another one in SCM_CREDENTIALS. Source: unix(7), capabilities(7). */
const CAP_SYS_ADMIN = 21n;

/** Says how the daemon stands. No call throws or waits; without a service manager all do nothing. Source: sd_notify(3). */
export interface Notifier {
  /** A service manager listens. */
  readonly isHeard: boolean;
  /** How often `watchdog` must be called at the latest; half of it is a good pace. Absent = not asked for. */
  readonly watchdogMs?: number;
  /** Start or reload is complete. Resolves when the message is out, never rejects. */
  ready(status?: string): Promise<void>;
  /** One line for `systemctl status`. */
  status(text: string): void;
  reloading(): void;
  stopping(): void;
  watchdog(): void;
  /** Another process is the main one from now on. */
  mainPid(pid: number): void;
  /** Start, reload or stop may take so much longer from now. */
  extendTimeout(ms: number): void;
  /**
   * Gives a socket into the manager's keeping: it stays open over a restart and over a crash, and comes back under this name as
   * those of socket activation do. Never rejects. Source: FDSTORE=1 of sd_notify(3), FileDescriptorStoreMax= of systemd.service(5).
   */
  keep(name: string, socket: unknown): Promise<void>;
  /** A socket that was given is not kept any more. */
  forget(name: string): void;
  /** Ends the socket, which keeps the event loop alive until then. */
  close(): void;
}

/**
 * Opens the way to the service manager that the environment names.
 *
 * Readiness and status go through the systemd-notify package, which starts the program of that name, where its message counts
 * as ours: as root, or on an abstract socket. From any other user it comes from a strange process, and systemd drops it in
 * silence unless the unit says NotifyAccess=all. So the same message also goes through our own datagram socket, as all
 * that the package has no words for does; to hear it twice does no harm.
 *
 * The program finds NOTIFY_SOCKET in our environment: it must stay there, and be kept from the commands that we start.
 */
export function notifier(
  environment: Environment,
  onTrouble: (reason: string) => void = () => undefined,
): Notifier {
  const path = environment["NOTIFY_SOCKET"] ?? "";
  const watchdogMs = watchdogOf(environment);
  const wire = path.startsWith("/") ? new Wire(path, onTrouble) : undefined;
  const isAbstract = path.startsWith("@");
  const isProgramUseful = isAbstract || (wire !== undefined && canSpeakForOthers());
  const say = async (message: { ready?: true; status?: string }, datagram: string): Promise<void> => {
    wire?.send(datagram);
    if (!isProgramUseful) return;
    try {
      await withinLimit(notify(message));
    } catch (error) {
      // The datagram has said it already, if there is a way for one.
      if (wire === undefined)
        onTrouble(`systemd-notify: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  let store: Promise<DescriptorStore> | undefined;
  let isStoreTold = false;
  let lastStatus = "";
  let isSayingStatus = false;
  /** One program at a time; what came meanwhile is said once, the last text wins. */
  const sayStatus = async (): Promise<void> => {
    if (isSayingStatus) return;
    isSayingStatus = true;
    for (let said: string | undefined; said !== lastStatus;) {
      said = lastStatus;
      await say({ status: said }, `STATUS=${said}`);
    }
    isSayingStatus = false;
  };
  return {
    isHeard: wire !== undefined || isAbstract,
    ...(watchdogMs === undefined ? undefined : { watchdogMs }),
    ready: (status) => {
      const text = status === undefined ? undefined : oneLine(status);
      return say(
        { ready: true, ...(text === undefined ? undefined : { status: text }) },
        text === undefined ? "READY=1" : `READY=1\nSTATUS=${text}`,
      );
    },
    status: (text) => {
      lastStatus = oneLine(text);
      void sayStatus();
    },
    // MONOTONIC_USEC is what Type=notify-reload waits for; hrtime is CLOCK_MONOTONIC.
    reloading: () => wire?.send(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: () => wire?.send("STOPPING=1"),
    watchdog: () => wire?.send("WATCHDOG=1"),
    mainPid: (pid) => wire?.send(`MAINPID=${pid}`),
    extendTimeout: (ms) => wire?.send(`EXTEND_TIMEOUT_USEC=${Math.round(ms * 1000)}`),
    keep: async (name, socket) => {
      if (wire === undefined) return;
      try {
        store ??= openDescriptorStore(path);
        await (await store).keep(name, socket);
      } catch (error) {
        if (!isStoreTold)
          onTrouble(
            `sockets are not kept over a restart: ${error instanceof Error ? error.message : String(error)}`,
          );
        isStoreTold = true;
      }
    },
    forget: (name) => wire?.send(`FDSTOREREMOVE=1\nFDNAME=${name}`),
    close: () => wire?.close(),
  };
}

/** One socket that systemd has opened for us. */
export interface PassedSocket {
  readonly fd: number;
  /** From FileDescriptorName=; "unknown" where systemd named none. */
  readonly name: string;
}

/**
 * Takes over the sockets of socket activation, and clears the environment so that no child believes they are its own.
 *
 * @returns no sockets where none were passed, or not to this process; problems in words, one for each thing that is wrong
 *
 * Node closes inherited descriptors in the programs it starts (close-on-exec is set at its own start). Source: sd_listen_fds(3).
 */
export function listenDescriptors(environment: Environment): {
  readonly sockets: readonly PassedSocket[];
  readonly problems: readonly string[];
} {
  const pid = environment["LISTEN_PID"];
  const count = environment["LISTEN_FDS"];
  const names = environment["LISTEN_FDNAMES"];
  delete environment["LISTEN_PID"];
  delete environment["LISTEN_FDS"];
  delete environment["LISTEN_FDNAMES"];
  delete environment["LISTEN_PIDFDID"];
  if (pid !== String(process.pid) || count === undefined) return { sockets: [], problems: [] };
  if (!/^\d{1,5}$/.test(count) || Number(count) > MAX_DESCRIPTORS) {
    return {
      sockets: [],
      problems: [`LISTEN_FDS is "${count.slice(0, 20)}", which is no number of sockets`],
    };
  }
  const nameList = names === undefined ? [] : names.split(":");
  const problems: string[] = [];
  if (names !== undefined && nameList.length !== Number(count)) {
    problems.push(`LISTEN_FDNAMES has ${nameList.length} names for ${count} sockets`);
  }
  const sockets: PassedSocket[] = [];
  for (let index = 0; index < Number(count); index++) {
    const socket = { fd: FIRST_DESCRIPTOR + index, name: nameList[index] ?? "unknown" };
    if (isSocket(socket.fd)) sockets.push(socket);
    else problems.push(`descriptor ${socket.fd} ("${socket.name}") is no socket`);
  }
  return { sockets, problems };
}

/** Datagrams to the manager, in order; a full socket is tried again for a while. */
class Wire {
  readonly #datagram: UnixDatagram;
  readonly #onTrouble: (reason: string) => void;
  #waiting: string[] = [];
  #triesLeft = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string, onTrouble: (reason: string) => void) {
    this.#datagram = new UnixDatagram(path);
    this.#onTrouble = onTrouble;
  }

  send(text: string): void {
    if (this.#waiting.length === 0) this.#triesLeft = RETRIES;
    // A manager that reads nothing gets the latest word on everything later; more of the same does not help it.
    if (!this.#waiting.includes(text) && this.#waiting.length < 16) this.#waiting.push(text);
    if (this.#timer === undefined) this.#flush();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting = [];
    this.#datagram.close();
  }

  #flush(): void {
    this.#timer = undefined;
    for (;;) {
      const [text] = this.#waiting;
      if (text === undefined) return;
      const sent = this.#datagram.send(Buffer.from(text));
      if (sent.kind === "full" && this.#triesLeft > 0) {
        this.#triesLeft--;
        this.#timer = setTimeout(() => this.#flush(), RETRY_MS);
        this.#timer.unref();
        return;
      }
      this.#waiting.shift();
      if (sent.kind !== "sent")
        this.#onTrouble(`NOTIFY_SOCKET: ${sent.kind === "failed" ? sent.reason : sent.kind}`);
    }
  }
}

/** Source: sd_watchdog_enabled(3). */
function watchdogOf(environment: Environment): number | undefined {
  const micros = environment["WATCHDOG_USEC"] ?? "";
  const pid = environment["WATCHDOG_PID"];
  if (
    !/^\d{1,15}$/.test(micros) ||
    Number(micros) === 0 ||
    (pid !== undefined && pid !== String(process.pid))
  )
    return undefined;
  return Number(micros) / 1000;
}

/** The manager takes a line end for the next assignment. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, " ").slice(0, 1000);
}

function canSpeakForOthers(): boolean {
  if (process.geteuid?.() !== 0) return false;
  try {
    const effective = /^CapEff:\s*(?<set>[0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "latin1"))
      ?.groups?.["set"];
    return effective !== undefined && ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
  } catch {
    // No /proc: the datagram alone says it.
    return false;
  }
}

async function withinLimit(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${PROGRAM_MS} ms`)), PROGRAM_MS);
    timer.unref();
  });
  try {
    await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false;
  }
}
