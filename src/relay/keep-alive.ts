/** Lets the kernel look for peers that have gone without a word: one timer for all sessions, no system call for short ones. */

import type { Wire } from "../platform/wire.ts";

/** The two sides of one session. */
export interface Joined {
  readonly client: Pick<Wire, "keepAlive">;
  readonly backend: Pick<Wire, "keepAlive">;
  /** How long nothing may come before the kernel asks whether a side is still there. */
  readonly keepAliveMs: number;
}

/** tcp(7) takes whole seconds, and no more of them than 32767. */
const shortestMs = 1000;
const longestMs = 32_767_000;

/** A session that is over within one or two rounds has cost nothing. */
const defaultRoundMs = 5000;

/**
 * Turns keep-alive on for sessions that last.
 *
 * Without it a session whose client has lost its power or its network stays for ever; and the backend behind a relay cannot
 * find out by a keep-alive of its own, because our kernel answers that. Node asks ten times, a second apart.
 */
export class KeepAlives {
  #young = new Set<Joined>();
  #older = new Set<Joined>();
  #timer: NodeJS.Timeout | undefined;
  readonly #roundMs: number;

  /** @param roundMs a session is taken care of at the end of the first round that it has lived through; another one only in tests */
  constructor(roundMs = defaultRoundMs) {
    this.#roundMs = roundMs;
  }

  /** A session has begun. */
  watch(session: Joined): void {
    this.#young.add(session);
    this.#timer ??= setInterval(() => this.#nextRound(), this.#roundMs).unref();
  }

  /** A session is over. */
  forget(session: Joined): void {
    if (!this.#young.delete(session)) this.#older.delete(session);
  }

  #nextRound(): void {
    for (const { client, backend, keepAliveMs } of this.#older) {
      const afterMs = Math.min(Math.max(keepAliveMs, shortestMs), longestMs);
      for (const wire of [client, backend]) wire.keepAlive(afterMs);
    }
    this.#older = this.#young;
    this.#young = new Set();
    if (this.#older.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
