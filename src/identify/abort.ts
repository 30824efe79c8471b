/** Waiting that a signal can end. */

/**
 * Waits for the promise or for the signal, whichever comes first.
 *
 * @returns what the promise gave, or `otherwise` when the signal came first; the promise goes on unheard
 */
export function unlessAborted<Value>(
  promise: Promise<Value>,
  signal: AbortSignal,
  otherwise: () => Value,
): Promise<Value> {
  if (signal.aborted) return Promise.resolve(otherwise());
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve(otherwise());
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
