/** Remembers which tables were in force when, so that an edit can be taken back. */

import type { Generation } from "./config/live.ts";

/** Edits that are not older than this are taken back with a reload that nobody confirms. */
const lookBackMs = 10 * 60 * 1000;

/** More generations within that time are thinned out, the oldest of them stays. */
const maxEntries = 32;

interface Entry {
  readonly generation: Generation;
  readonly sinceMs: number;
}

/** Generations of tables, oldest first. Times are monotonic milliseconds. */
export class History {
  readonly #entries: Entry[] = [];
  #confirmedAtMs = Number.NEGATIVE_INFINITY;

  add(generation: Generation, nowMs: number): void {
    this.#entries.push({ generation, sinceMs: nowMs });
    const base = this.#baseIndex(nowMs);
    this.#entries.splice(0, base);
    if (this.#entries.length > maxEntries) this.#entries.splice(1, this.#entries.length - maxEntries);
  }

  /** What is in force now is what somebody wants: nothing before it comes back. */
  confirm(nowMs: number): void {
    this.#confirmedAtMs = nowMs;
  }

  /** The tables that were in force ten minutes ago, or at the last confirmation, or at the start, whichever is the latest. */
  base(nowMs: number): Generation | undefined {
    return this.#entries[this.#baseIndex(nowMs)]?.generation;
  }

  #baseIndex(nowMs: number): number {
    const limitMs = Math.max(nowMs - lookBackMs, this.#confirmedAtMs);
    return Math.max(
      0,
      this.#entries.findLastIndex(({ sinceMs }) => sinceMs <= limitMs),
    );
  }
}
