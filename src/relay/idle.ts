/** The idle limit of one session: a timer that is never moved by traffic, only asked again when it fires. */

/**
 * Calls `expire` once when no byte has moved for `limitMs`.
 *
 * Moving a timer for every chunk would cost more than the copy of a small chunk; here traffic only notes the time, and
 * the timer, when it fires early, is set again for what is left.
 */
export class IdleWatch {
  readonly #limitMs: number;
  readonly #expire: () => void;
  readonly #hasMoved: () => boolean;
  #touchedMs = performance.now();
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param limitMs 0 = no limit, no timer
   * @param hasMoved asked when the time is over: has anything moved that nobody has said by `touch`?
   */
  constructor(limitMs: number, expire: () => void, hasMoved: () => boolean = () => false) {
    this.#limitMs = limitMs;
    this.#expire = expire;
    this.#hasMoved = hasMoved;
    if (limitMs > 0) this.#wait(limitMs);
  }

  /** Says that a byte has moved. */
  touch(): void {
    if (this.#limitMs > 0) this.#touchedMs = performance.now();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #wait(ms: number): void {
    // setTimeout takes 31 bits; a longer limit is asked for again when it fires.
    this.#timer = setTimeout(() => this.#check(), Math.min(Math.ceil(ms), 2 ** 31 - 1));
  }

  #check(): void {
    const leftMs = this.#touchedMs + this.#limitMs - performance.now();
    if (leftMs > 0) {
      this.#wait(leftMs);
    } else if (this.#hasMoved()) {
      this.touch();
      this.#wait(this.#limitMs);
    } else {
      this.#expire();
    }
  }
}
