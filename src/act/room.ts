/** How many of one thing may run at the same time. */

/** Counts places in use against a limit. */
export class Room {
  readonly #places: number;
  #used = 0;

  constructor(places: number) {
    this.#places = places;
  }

  get used(): number {
    return this.#used;
  }

  /** Takes a place; false when there is none. */
  take(): boolean {
    if (this.#used >= this.#places) return false;
    this.#used += 1;
    return true;
  }

  /** Gives back a place that was taken. */
  give(): void {
    this.#used -= 1;
  }
}
