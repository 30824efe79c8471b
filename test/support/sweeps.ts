/** Waits by the clock of what is looked at every second. */

import { sweepEverySecond, sweepNoMore } from "../../src/platform/sweep.ts";

/** Resolves after so many sweeps of everything. */
export async function sweeps(count: number): Promise<void> {
  await new Promise<void>((resolve) => {
    let left = count;
    const waiting = {
      sweep: (): void => {
        left -= 1;
        if (left > 0) return;
        sweepNoMore(waiting);
        resolve();
      },
    };
    sweepEverySecond(waiting);
  });
}
