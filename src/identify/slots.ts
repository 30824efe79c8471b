/** A fixed number of things under way at once; whoever comes later waits in line, and may leave it. */

/** One place; give it back exactly once, when the thing has really ended. */
export type Release = () => void;

/** The places, and the line in front of them. */
export class Slots {
  readonly #total: number;
  #taken = 0;
  readonly #waiting = new Set<(release: Release | undefined) => void>();

  constructor(total: number) {
    this.#total = total;
  }

  /** Places taken, callers in line, and places altogether. */
  load(): { readonly taken: number; readonly waiting: number; readonly total: number } {
    return { taken: this.#taken, waiting: this.#waiting.size, total: this.#total };
  }

  /** Takes a place if one is free and nobody is in line for it. */
  tryTake(): Release | undefined {
    return this.#taken < this.#total ? this.#grant() : undefined;
  }

  /**
   * Waits for a place, first come first served.
   *
   * @returns undefined when the signal came first; then there is nothing to give back
   */
  take(signal: AbortSignal): Promise<Release | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    if (this.#taken < this.#total) return Promise.resolve(this.#grant());
    return new Promise((resolve) => {
      const leave = (): void => {
        this.#waiting.delete(enter);
        resolve(undefined);
      };
      const enter = (release: Release | undefined): void => {
        signal.removeEventListener("abort", leave);
        resolve(release);
      };
      this.#waiting.add(enter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  #grant(): Release {
    this.#taken++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#taken--;
      for (const enter of this.#waiting) {
        this.#waiting.delete(enter);
        enter(this.#grant());
        break;
      }
    };
  }
}
