/** A time limit that holds: on the first of a timer and an outer signal. */

/** Ended by `clear` when it is no longer needed. */
export interface Deadline {
  /** Aborted at the limit, or with the outer signal and its reason. */
  readonly signal: AbortSignal;
  readonly clear: () => void;
}

/**
 * Starts a limit.
 *
 * Not `AbortSignal.any` with `AbortSignal.timeout`: Node 20 can collect the timer as garbage before it has fired, and then
 * nothing ends the wait.
 */
export function startDeadline(limitMs: number, outer: AbortSignal): Deadline {
  const controller = new AbortController();
  const end = (): void => controller.abort(outer.reason);
  const timer = setTimeout(end, limitMs);
  outer.addEventListener("abort", end, { once: true });
  if (outer.aborted) end();
  const clear = (): void => {
    clearTimeout(timer);
    outer.removeEventListener("abort", end);
  };
  return { signal: controller.signal, clear };
}
