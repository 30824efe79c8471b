/** Feeds the service manager's watchdog for as long as every event loop of ours turns. */

import type { Notifier } from "../platform/systemd.ts";

/** Asks the workers at twice the pace that the manager wants, and passes their answer on. Absent where no watchdog is wanted. */
export function feedWatchdog(
  manager: Notifier,
  daemon: { answers(): Promise<boolean> },
): NodeJS.Timeout | undefined {
  if (manager.watchdogMs === undefined) return undefined;
  let isWaiting = false;
  const ask = async (): Promise<void> => {
    if (isWaiting) return; // a worker that hangs gets no second question
    isWaiting = true;
    if (await daemon.answers()) manager.watchdog();
    isWaiting = false;
  };
  void ask();
  return setInterval(() => void ask(), manager.watchdogMs / 3).unref();
}
