/** Looks at table files and reads them whole, without ever waiting for a FIFO or a device. */

import { closeSync, constants, fstatSync, openSync, readSync, type Stats, statSync } from "node:fs";
import type { Source } from "../access/types.ts";
import { ClockSteps } from "../platform/clock-steps.ts";
import { systemPath } from "../platform/paths.ts";
import { systemWords } from "../platform/system-error.ts";
import { racyMs } from "./settle.ts";

/**
 * What the kernel tells of the file that a path leads to; two equal ones mean the same content, after `racyMs`.
 *
 * Every decision asks for two of them, so they are plain numbers: times are good to a quarter of a microsecond, which is far
 * finer than `racyMs`, and an inode beyond 2^53 is told apart by its times.
 */
export interface FileState {
  readonly device: number;
  readonly inode: number;
  readonly size: number;
  /** Since the epoch, by the wall clock. */
  readonly modifiedMs: number;
  /** Also moved by a rename, chmod or chown. */
  readonly changedMs: number;
  readonly isFile: boolean;
}

/** "missing", or the reason why we cannot even look. */
export type Looked = FileState | "missing" | { readonly unreadable: string };

/** The content of a file, and what the kernel said of it at that moment. */
export interface FileReading {
  readonly source: Source;
  readonly state: Looked;
}

const noThrow = { throwIfNoEntry: false } as const;

/** Looks at a path, symbolic links followed. Paths are for `systemPath`, here and below. */
export function look(path: string): Looked {
  try {
    const stats = statSync(systemPath(path), noThrow);
    return stats === undefined ? "missing" : stateOf(stats);
  } catch (cause) {
    return { unreadable: systemWords(cause) };
  }
}

export function isSameState(before: Looked, after: Looked): boolean {
  if (before === "missing" || after === "missing") return before === after;
  if ("unreadable" in before) return "unreadable" in after && before.unreadable === after.unreadable;
  if ("unreadable" in after) return false;
  return (
    before.inode === after.inode &&
    before.size === after.size &&
    before.modifiedMs === after.modifiedMs &&
    before.changedMs === after.changedMs &&
    before.device === after.device
  );
}

/**
 * Reads a whole file, and what the kernel said of it at that moment.
 *
 * A file that changes meanwhile is read again, at most `mostReads` times: an append moves the time of the file before its size, and who
 * looks in between cannot tell it from an edit; and one that crosses a page of the file grows it twice, so that its line is cut off for
 * a moment.
 *
 * @returns "missing" for no such file; "directory" for one, which libwrap reads as empty; "text" of no bytes for /dev/null, to which
 *   tables are linked to switch them off; "unreadable" for FIFOs, other devices, files beyond `maxBytes`, missing rights, and a file that
 *   changed under our hands, but for lines that were added at its end
 */
export function readWhole(path: string, maxBytes: number): FileReading {
  let reading = readOnce(path, maxBytes);
  for (let reads = 1; isOfTheMoment(reading) && reads < mostReads; reads++)
    reading = readOnce(path, maxBytes);
  return reading;
}

const mostReads = 3;

/** Whether another look is likely to see something else. */
function isOfTheMoment(reading: FileReading): boolean {
  const { source, state } = reading;
  if (reading === changedMeanwhile) return true;
  return source.kind === "text" && (source.bytes.at(-1) ?? newline) !== newline && ageMs(state) < racyMs;
}

function readOnce(path: string, maxBytes: number): FileReading {
  let descriptor: number;
  try {
    // A FIFO without a writer would block the open itself.
    descriptor = openSync(systemPath(path), constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    if (isError(cause) && cause.code === "ENOENT") return { source: { kind: "missing" }, state: "missing" };
    const reason = systemWords(cause);
    // A file that we may look at and not read stays so until it is touched, and Node 24 calls a way through a file missing; whatever
    // else went wrong may be over the next time.
    const isForNow = !isError(cause) || (cause.code !== "EACCES" && cause.code !== "ENOTDIR");
    const state = isForNow ? { unreadable: reason } : look(path);
    return { source: { kind: "unreadable", reason }, state };
  }
  try {
    const stats = fstatSync(descriptor);
    const state = stateOf(stats);
    if (stats.isDirectory()) return { source: { kind: "directory" }, state };
    if (stats.isCharacterDevice() && stats.rdev === nullDevice)
      return { source: { kind: "text", bytes: new Uint8Array() }, state };
    if (!state.isFile) return unreadable("not a regular file", state);
    if (state.size > maxBytes) return unreadable(`larger than ${maxBytes} bytes`, state);
    const bytes = readBytes(descriptor, state.size);
    const after = stateOf(fstatSync(descriptor));
    const isWhole =
      bytes.length === state.size && (isSameState(state, after) || hasGrown(state, after, bytes));
    return isWhole ? { source: { kind: "text", bytes }, state } : changedMeanwhile;
  } catch (cause) {
    return {
      source: { kind: "unreadable", reason: systemWords(cause) },
      state: { unreadable: systemWords(cause) },
    };
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Lines were added at the end meanwhile, which a list of bans may never cease to do: what was read is what the file had been. Its
 * state is no longer that of the file, so the next look finds it changed.
 */
function hasGrown(before: FileState, after: FileState, bytes: Uint8Array): boolean {
  return after.size > before.size && bytes.at(-1) === newline;
}

const newline = 0x0a;

/** No state of a file equals this one, so that the next look reads it again. */
const changedMeanwhile: FileReading = {
  source: { kind: "unreadable", reason: "it changed while we read it" },
  state: { unreadable: "it changed while we read it" },
};

/** Major number 1, minor number 3, on every Linux; null(4). */
const nullDevice = (1 << 8) | 3;

/** The last two bytes of a file, fewer where it has fewer, none where it cannot be read. */
export function readTail(path: string): Uint8Array {
  try {
    const descriptor = openSync(systemPath(path), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = fstatSync(descriptor);
      if (!stats.isFile()) return new Uint8Array();
      const tail = new Uint8Array(2);
      return tail.subarray(0, readSync(descriptor, tail, 0, 2, Math.max(0, stats.size - 2)));
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return new Uint8Array();
  }
}

/** Lines of a file, `most` where it has more; 0 where it cannot be read. */
export function countLines(path: string, most: number): number {
  try {
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!fstatSync(descriptor).isFile()) return 0;
      const chunk = new Uint8Array(2 ** 16);
      let lines = 0;
      for (;;) {
        const count = readSync(descriptor, chunk, 0, chunk.length, null);
        if (count === 0) return lines;
        for (let at = chunk.indexOf(newline); at >= 0 && at < count; at = chunk.indexOf(newline, at + 1)) {
          lines += 1;
          if (lines >= most) return most;
        }
      }
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return 0;
  }
}

/**
 * Milliseconds since a file was last touched; 0 where its time lies ahead, or there is no file.
 *
 * Files have times of the wall clock. After it was set, a file that is just being written may look a day old, so no age counts
 * that is longer than the clock has run undisturbed.
 */
export function ageMs(state: Looked): number {
  const steadyMs = clock.steadyForMs();
  if (state === "missing" || "unreadable" in state) return 0;
  const touchedMs = Math.floor(Math.max(state.changedMs, state.modifiedMs));
  return Math.max(0, Math.min(Date.now() - touchedMs, steadyMs));
}

const clock = new ClockSteps();

function stateOf(stats: Stats): FileState {
  return {
    device: stats.dev,
    inode: stats.ino,
    size: stats.size,
    modifiedMs: stats.mtimeMs,
    changedMs: stats.ctimeMs,
    isFile: stats.isFile(),
  };
}

function unreadable(reason: string, state: FileState): FileReading {
  return { source: { kind: "unreadable", reason }, state };
}

function readBytes(descriptor: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let filled = 0;
  while (filled < size) {
    const count = readSync(descriptor, bytes, filled, size - filled, filled);
    if (count === 0) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}

function isError(cause: unknown): cause is NodeJS.ErrnoException {
  return cause instanceof Error;
}
