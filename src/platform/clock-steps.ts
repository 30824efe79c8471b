/** Tells how long ago the wall clock was last set: times from before that are of another clock. */

import { performance } from "node:perf_hooks";

/** A clock that is slewed runs at most so much faster or slower; what is more was set. Source: adjtimex(2), 500 ppm. */
const slewMs = 50;

/** Sees steps of the wall clock by comparing it with the monotonic one, each time it is asked. */
export class ClockSteps {
  readonly #wall: () => number;
  readonly #steady: () => number;
  #offsetMs: number;
  #steppedAtMs = Number.NEGATIVE_INFINITY;

  constructor(wall: () => number = Date.now, steady: () => number = () => performance.now()) {
    this.#wall = wall;
    this.#steady = steady;
    this.#offsetMs = wall() - steady();
  }

  /** Milliseconds for which the wall clock has not been set, as far as we have looked; infinite where we never saw it set. */
  steadyForMs(): number {
    const now = this.#steady();
    const offsetMs = this.#wall() - now;
    if (Math.abs(offsetMs - this.#offsetMs) > slewMs) this.#steppedAtMs = now;
    this.#offsetMs = offsetMs;
    return now - this.#steppedAtMs;
  }
}
