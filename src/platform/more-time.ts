/** Asks the service manager for time, over and over, where something takes as long as it takes. */

import type { Notifier } from "./systemd.ts";

/** So long it waits after each word of ours, and three come in that time: one that is late ends nothing. */
const extensionMs = 30_000;

/**
 * Waits for work that may take longer than the service manager allows (TimeoutStopSec=): it has said so to it before, by `stopping`
 * for example, and asks for more time at once and until the work is done.
 *
 * Source: EXTEND_TIMEOUT_USEC= of sd_notify(3).
 */
export async function withMoreTime(
  notifier: Pick<Notifier, "extendTimeout">,
  work: Promise<void>,
): Promise<void> {
  const ask = (): void => notifier.extendTimeout(extensionMs);
  ask();
  const asking = setInterval(ask, extensionMs / 3);
  try {
    await work;
  } finally {
    clearInterval(asking);
  }
}
