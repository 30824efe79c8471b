/** Ends something before its time, once: an AbortController that makes its signal only for those who cannot do without. */

/** A thousand short connections a second have one each, and nobody ever cuts them. */
export class Cut {
  /** Why; undefined until it has happened. */
  reason: unknown;
  aborted = false;
  /** Two or three at most: those of a dial, a relay and a lookup. */
  readonly #hearers: (() => void)[] = [];
  #controller: AbortController | undefined;

  /** For what knows nothing else. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.aborted) this.#controller.abort(this.reason);
    return this.#controller.signal;
  }

  /**
   * Calls `heard` when it happens, not where it has happened already.
   *
   * @returns stops hearing; may be called more than once
   */
  hear(heard: () => void): () => void {
    this.#hearers.push(heard);
    return () => {
      const at = this.#hearers.indexOf(heard);
      if (at >= 0) this.#hearers.splice(at, 1);
    };
  }

  /** A second call does nothing. */
  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.#controller?.abort(reason);
    while (this.#hearers.length > 0) this.#hearers.shift()?.(); // one may stop another, or itself
  }
}
