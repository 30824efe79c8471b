/** Hears an abort signal that ten thousand sessions share. */

import { Cut } from "../platform/cut.ts";

/** What ends a dial or a relay before its time; the reason is the cause to report. */
export type Stop = AbortSignal | Cut;

/**
 * Calls `heard` when the signal aborts; at once if it already has.
 *
 * One listener for each signal, and a set behind it: an EventTarget warns beyond ten listeners and walks through all of
 * them to remove one.
 *
 * @returns stops hearing; may be called more than once
 */
export function onAbort(signal: Stop | undefined, heard: () => void): () => void {
  if (signal === undefined) return nothing;
  if (signal.aborted) {
    heard();
    return nothing;
  }
  if (signal instanceof Cut) return signal.hear(heard);
  let hearers = hearersOf.get(signal);
  if (hearers === undefined) {
    const all = new Set<() => void>();
    hearers = all;
    hearersOf.set(signal, all);
    signal.addEventListener("abort", () => all.forEach((each) => each()), { once: true });
  }
  const all = hearers;
  all.add(heard);
  return () => void all.delete(heard);
}

const hearersOf = new WeakMap<AbortSignal, Set<() => void>>();

function nothing(): void {}
