/** Tells from time to time how many sessions a worker has, where the number is another one. */

import type { Worker } from "./worker.ts";

const tellMs = 250;

/** For as long as the process lives, which it does not keep alive. */
export function tellSessions(worker: Pick<Worker, "sessions">, tell: (count: number) => void): void {
  let told = 0;
  setInterval(() => {
    if (worker.sessions === told) return;
    told = worker.sessions;
    tell(told);
  }, tellMs).unref();
}
