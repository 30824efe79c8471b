/** Watches over the event loops of the workers, and feeds the service manager's watchdog for as long as that goes well. */

import type { Notifier } from "../platform/systemd.ts";

/** How long a worker may be silent where no service manager says how long it would wait. */
const patienceMs = 30_000;

/**
 * Asks the workers three times in the time that the service manager waits; a worker that is silent for one of these is killed.
 * So there is time left to replace it before the manager would end us all, and the manager is there for the supervisor itself.
 */
export function feedWatchdog(
  manager: Pick<Notifier, "watchdog" | "watchdogMs">,
  daemon: { answers(withinMs: number): Promise<boolean> },
): NodeJS.Timeout {
  const paceMs = (manager.watchdogMs ?? patienceMs) / 3;
  let isWaiting = false;
  const ask = async (): Promise<void> => {
    if (isWaiting) return; // a worker that hangs gets no second question
    isWaiting = true;
    if (await daemon.answers(paceMs)) manager.watchdog();
    isWaiting = false;
  };
  void ask();
  return setInterval(() => void ask(), paceMs).unref();
}
