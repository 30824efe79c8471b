/** One timer for all that only wants a look now and then: none is set, moved or cleared for a session. */

/** What is looked at. */
export interface Swept {
  /** Called every second. */
  sweep(): void;
}

export const sweepMs = 1000;

const all = new Set<Swept>();
let timer: NodeJS.Timeout | undefined;

/** Has `sweep` called every second from now on, the first time within a second; saying so twice changes nothing. */
export function sweepEverySecond(swept: Swept): void {
  all.add(swept);
  timer ??= setInterval(sweepAll, sweepMs).unref();
}

export function sweepNoMore(swept: Swept): void {
  all.delete(swept);
}

function sweepAll(): void {
  for (const each of all) each.sweep();
  if (all.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}
