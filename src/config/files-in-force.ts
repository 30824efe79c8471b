/** The files of the tables in force: what each was when it came into force, and how long a changed one has been quiet. */

import type { Source } from "../access/types.ts";
import { ageMs, countLines, isSameState, look, type Looked, readTail, readWhole } from "./files.ts";
import { MAX_FILE_BYTES } from "./load.ts";
import { quietNeededMs, quietNeededUnreadMs, racyMs } from "./settle.ts";
import { bytesOf, largeBytes } from "./snapshot.ts";

/** What a path leads to, as it is in force. */
export interface InForce {
  readonly state: Looked;
  readonly kind: Source["kind"];
  /** Until then (monotonic milliseconds) an equal state does not prove equal content. */
  readonly racyUntil?: number;
  /** Kept of small tables only. */
  readonly source?: Source;
}

/** A file that was just read. */
export type Reading = InForce & { readonly source: Source };

/** With no more lines than this in all files together a decision waits for the load, though it is done in the background. */
const shortLines = 10_000;

/** A table that never comes to rest is taken as it is after so long. */
export const restlessMs = 2000;

/** The shortest and the longest pause between two looks at a file that is being written. */
export const recheckMs = { least: 5, most: 50 } as const;

/** Every file that the tables in force depend on, the missing ones too. */
export class FilesInForce {
  readonly #files = new Map<string, InForce>();
  /** Files that are being changed: the newest state, and when it was first seen (monotonic milliseconds). */
  readonly #moving = new Map<string, { readonly state: Looked; readonly since: number }>();
  #movingSince = 0;

  get(path: string): InForce | undefined {
    return this.#files.get(path);
  }

  /** As they are now; later changes do not show in it. */
  all(): Map<string, InForce> {
    return new Map(this.#files);
  }

  /** Reads every one of them anew. */
  readNow(): Map<string, Reading> {
    return new Map(Array.from(this.#files.keys(), (path) => [path, readNow(path)]));
  }

  /** Notes what is in force; the content only of small tables, for it is needed to tell an append from a rewrite. */
  replace(files: ReadonlyMap<string, InForce>): void {
    const isLarge = sizeOf(Array.from(files.values(), ({ state }) => state)) > largeBytes;
    const kept = Array.from(files, ([path, { source, ...rest }]): [string, InForce] => [
      path,
      isLarge || source === undefined ? rest : { ...rest, source },
    ]);
    this.#files.clear();
    for (const [path, file] of kept) this.#files.set(path, file);
  }

  /** The paths that may lead to something else than what is in force. */
  changed(): string[] {
    const now = performance.now();
    const changed: string[] = [];
    for (const [path, { state, racyUntil = 0 }] of this.#files) {
      if (now < racyUntil || !isSameState(state, look(path))) changed.push(path);
    }
    return changed;
  }

  /** Whether they are too large, now or as they are in force, to be loaded at once. */
  isLarge(): boolean {
    return (
      sizeOf(Array.from(this.#files.keys(), look)) > largeBytes ||
      sizeOf(Array.from(this.#files.values(), ({ state }) => state)) > largeBytes
    );
  }

  /** Whether they have so few lines, long as those may be, that a decision can wait until they are loaded. */
  isShort(): boolean {
    let left = shortLines;
    for (const path of this.#files.keys()) {
      left -= countLines(path, left + 1);
      if (left < 0) return false;
    }
    return true;
  }

  /** Milliseconds until the changed files may come into force; 0 or less = now. */
  waitMs(readings: ReadonlyMap<string, Reading>): number {
    let waitMs = 0;
    for (const [path, { state, source }] of readings) {
      const before = this.#files.get(path);
      const neededMs = quietNeededMs(
        before?.source === undefined ? undefined : { state: before.state, bytes: bytesOf(before.source) },
        { state, bytes: bytesOf(source) },
      );
      waitMs = Math.max(waitMs, neededMs - this.#quietMs(path, state));
    }
    if (!this.#isOneMoment(readings)) waitMs = Math.max(waitMs, recheckMs.least);
    return this.#isRestless() ? 0 : waitMs;
  }

  /** As `waitMs`, without reading the files: by their sizes and last bytes. */
  unreadWaitMs(): number {
    let waitMs = 0;
    for (const path of this.changed()) {
      const state = look(path);
      const neededMs = quietNeededUnreadMs(this.#files.get(path)?.state, state, readTail(path));
      waitMs = Math.max(waitMs, neededMs - this.#quietMs(path, state));
    }
    return this.#isRestless() ? 0 : waitMs;
  }

  /** No file is being changed any more. */
  rested(): void {
    this.#moving.clear();
  }

  #isRestless(): boolean {
    return this.#moving.size > 0 && performance.now() - this.#movingSince > restlessMs;
  }

  /**
   * Whether the files were as they were read all at the same time: they are read one after the other, and somebody who changes both
   * tables in between would give us one of before and one of after.
   */
  #isOneMoment(readings: ReadonlyMap<string, Reading>): boolean {
    for (const [path, before] of this.#files) {
      const { source, state } = readings.get(path) ?? before;
      if (source?.kind !== "unreadable" && !isSameState(state, look(path))) return false;
    }
    return true;
  }

  /** How long a changed file has been as it is now. */
  #quietMs(path: string, state: Looked): number {
    const now = performance.now();
    if (this.#moving.size === 0) this.#movingSince = now;
    const seen = this.#moving.get(path);
    const since = seen !== undefined && isSameState(seen.state, state) ? seen.since : now;
    this.#moving.set(path, { state, since });
    return Math.max(now - since, ageMs(state));
  }
}

/** Reads a file, as it is to come into force. */
export function readNow(path: string, maxBytes = MAX_FILE_BYTES): Reading {
  const { source, state } = readWhole(path, maxBytes);
  return {
    source,
    kind: source.kind,
    state,
    racyUntil: ageMs(state) < racyMs ? performance.now() + racyMs : 0,
  };
}

/** Bytes of all files together. */
export function sizeOf(states: readonly Looked[]): number {
  return states.reduce(
    (sum, state) => sum + (typeof state === "object" && "size" in state ? state.size : 0),
    0,
  );
}
