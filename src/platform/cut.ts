/** Ends something before its time, once: an AbortController that makes its signal only for those who cannot do without. */

/** A thousand short connections a second have one each, and nobody ever cuts them. */
export class Cut {
  /** Why; undefined until it has happened. */
  reason: unknown;
  aborted = false;
  readonly #hearers = new Set<() => void>();
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
    this.#hearers.add(heard);
    return () => void this.#hearers.delete(heard);
  }

  /** A second call does nothing. */
  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.#controller?.abort(reason);
    for (const heard of this.#hearers) heard();
  }
}
