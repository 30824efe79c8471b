/** Answers that are good for a while, never more of them than a fixed number. */

/** A map whose entries end by time, and whose least recently used entry makes room for a new one. */
export class ExpiringCache<Value> {
  readonly #maxEntries: number;
  readonly #now: () => number;
  readonly #entries = new Map<string, { readonly value: Value; readonly until: number }>();

  /** @param now monotonic milliseconds */
  constructor(maxEntries: number, now: () => number) {
    this.#maxEntries = maxEntries;
    this.#now = now;
  }

  get(key: string): Value | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (entry.until <= this.#now()) return undefined;
    this.#entries.set(key, entry); // a map keeps the order of insertion: the first one is the one to go
    return entry.value;
  }

  set(key: string, value: Value, lifetimeMs: number): void {
    this.#entries.delete(key);
    if (lifetimeMs <= 0) return;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size < this.#maxEntries) break;
      this.#entries.delete(oldest);
    }
    this.#entries.set(key, { value, until: this.#now() + lifetimeMs });
  }

  clear(): void {
    this.#entries.clear();
  }
}
