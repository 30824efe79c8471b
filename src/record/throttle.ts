/** Keeps complaints that strangers can cause at will from flooding the log: so many in a period, the rest as a number. */

export interface ThrottleSettings {
  readonly perPeriod: number;
  readonly periodMs: number;
  /** Milliseconds that never go back; another one only in tests. */
  readonly now?: () => number;
}

/** Lets the first complaints of each period through. */
export class Throttle {
  readonly #settings: ThrottleSettings;
  readonly #now: () => number;
  #periodEndMs = Number.NEGATIVE_INFINITY;
  #seen = 0;

  constructor(settings: ThrottleSettings) {
    this.#settings = settings;
    this.#now = settings.now ?? (() => performance.now());
  }

  /** The message to write; undefined where it is one too many. The first of a later period says how many were left out. */
  admit(message: string): string | undefined {
    const { perPeriod, periodMs } = this.#settings;
    let leftOut = 0;
    if (this.#now() >= this.#periodEndMs) {
      leftOut = Math.max(0, this.#seen - perPeriod);
      this.#periodEndMs = this.#now() + periodMs;
      this.#seen = 0;
    }
    this.#seen += 1;
    if (this.#seen > perPeriod) return undefined;
    return leftOut === 0 ? message : `${message} (and ${leftOut} more of the kind before it, left out)`;
  }
}
