/** Standard output for log lines: never holds up the event loop, not even when nobody reads. */
import { closeSync, fstatSync, openSync, write } from "node:fs";
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
  return isStream(fd) ? new StreamOutlet(fd) : new FileOutlet(fd);
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
  /** What is left of a batch after an error in the middle; the caller sends the same lines again. */
  #rest: Buffer | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async send(lines: readonly string[]): Promise<number> {
    this.#rest ??= Buffer.from(lines.join(""));
    while (this.#rest.length > 0) {
      if (this.#closed) throw new Error("closed");
      const { bytesWritten } = await writeAsync(this.#fd, this.#rest);
      this.#rest = this.#rest.subarray(bytesWritten);
    }
    this.#rest = undefined;
    return lines.length;
  }

  close(): void {
    this.#closed = true;
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
