/** Standard output for log lines: never holds up the event loop, not even when nobody reads. */
import { closeSync, constants, fstatSync, openSync, write } from "node:fs";
import { Socket } from "node:net";
import { isatty } from "node:tty";
import { promisify } from "node:util";

import type { Outlet } from "./outlet.ts";

const PIPE_BUF = 4096; // of Linux

const writeAsync = promisify(write);

/** What a log descriptor leads to, as far as the form of the lines depends on it. */
export type DescriptorKind = "terminal" | "journal" | "other";

/**
 * Says what a descriptor leads to.
 *
 * @param environment systemd sets JOURNAL_STREAM to device and inode of the stream; it only counts if they are this one's,
 *   since a child inherits the variable with whatever output it has. Source: systemd.exec(5).
 */
export function describeDescriptor(
  fd: number,
  environment: Readonly<Record<string, string | undefined>>,
): DescriptorKind {
  if (isatty(fd)) return "terminal";
  try {
    const { dev, ino } = fstatSync(fd);
    return environment["JOURNAL_STREAM"] === `${dev}:${ino}` ? "journal" : "other";
  } catch {
    // Closed: the first send will say so.
    return "other";
  }
}

/**
 * Opens a descriptor as an outlet.
 *
 * Pipes and sockets go through a non-blocking stream. Files and terminals are written in the thread pool, one write at a
 * time: they cannot be waited for by readiness. A pipe must not go there, since a write that nobody reads would hold
 * a thread of the pool for ever and process.exit() with it (libuv joins its threads).
 */
export function openDescriptor(fd: number): Outlet {
  if (isStream(fd)) return new StreamOutlet(fd);
  return isatty(fd) ? new FileOutlet(openAgain(fd)) : new FileOutlet(fd);
}

/**
 * Opens a terminal once more for ourselves, non-blocking: one that is held by Ctrl-S then says so, instead of keeping a thread.
 * The flag is the open file's, so on the descriptor itself it would be the shell's too.
 */
function openAgain(fd: number): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // No /proc, or a terminal that belonged to somebody else before we gave up root.
    return fd;
  }
}

class StreamOutlet implements Outlet {
  readonly #socket: Socket;
  #error: Error | undefined;

  constructor(fd: number) {
    this.#socket = new Socket({ fd, readable: false, writable: true });
    this.#socket.unref();
    this.#socket.on("error", (error) => {
      this.#error = error;
    });
    // Closing frees the number, and the next client's socket would get it, with whatever still writes to standard output.
    this.#socket.on("close", () => occupy(fd));
  }

  /** Supervisor and workers share a pipe: what is written at once stays together only up to PIPE_BUF. Source: pipe(7). */
  async send(lines: readonly string[]): Promise<number> {
    for (let taken = 0; taken < lines.length;) {
      let text = lines[taken] ?? "";
      let bytes = Buffer.byteLength(text);
      for (taken += 1; taken < lines.length; taken += 1) {
        const next = lines[taken] ?? "";
        bytes += Buffer.byteLength(next);
        if (bytes > PIPE_BUF) break;
        text += next;
      }
      await this.#write(text);
    }
    return lines.length;
  }

  #write(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(this.#error ?? new Error("closed"));
        return;
      }
      this.#socket.write(text, (error) => {
        if (error === undefined || error === null) resolve();
        else reject(error);
      });
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

class FileOutlet implements Outlet {
  readonly #fd: number;
  #closed = false;
  /** A batch that stopped in the middle: the caller sends its lines again, perhaps with more behind them. */
  #begun: { rest: Buffer; readonly lines: number } | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async send(lines: readonly string[]): Promise<number> {
    this.#begun ??= { rest: Buffer.from(lines.join("")), lines: lines.length };
    const begun = this.#begun;
    while (begun.rest.length > 0) {
      if (this.#closed) throw new Error("closed");
      const bytesWritten = await this.#write(begun.rest);
      if (bytesWritten === 0) return 0;
      begun.rest = begun.rest.subarray(bytesWritten);
    }
    this.#begun = undefined;
    return begun.lines;
  }

  close(): void {
    this.#closed = true;
  }

  /** @returns 0 where the terminal takes nothing now */
  async #write(bytes: Buffer): Promise<number> {
    try {
      return (await writeAsync(this.#fd, bytes)).bytesWritten;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") return 0;
      throw error;
    }
  }
}

function isStream(fd: number): boolean {
  try {
    const stat = fstatSync(fd);
    return stat.isFIFO() || stat.isSocket();
  } catch {
    return false;
  }
}

/** Puts /dev/null at a descriptor number that has just become free; the kernel gives the lowest free one. */
function occupy(fd: number): void {
  try {
    const opened = openSync("/dev/null", "w");
    if (opened !== fd) closeSync(opened);
  } catch {
    // No /dev/null or no descriptors left: nothing better can be done, and nothing of ours writes there any more.
  }
}
