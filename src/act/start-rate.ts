/** A cap on how fast programs are started. */
import { performance } from "node:perf_hooks";
import type { Program, Programs, Running } from "../platform/commands.ts";

/** Thrown in place of a start that comes too soon; nothing was started. The caller refuses in its own way. */
export class TooManyStarts extends Error {
  override readonly name = "TooManyStarts";
}

/** How fast programs may start: `perMinute` in the long run, `burst` at once. */
export interface StartRate {
  readonly perMinute: number;
  readonly burst: number;
}

/**
 * The same programs, but no faster than `rate`: a start costs a fork, which holds up everybody else in this process for a millisecond.
 *
 * @param now a clock in milliseconds that never goes back
 */
export function limitStarts(programs: Programs, rate: StartRate, now: () => number = monotonic): Programs {
  let left = rate.burst;
  let countedAt = now();
  return {
    async start(program: Program): Promise<Running> {
      const time = now();
      left = Math.min(rate.burst, left + ((time - countedAt) * rate.perMinute) / 60_000);
      countedAt = time;
      if (left < 1) throw new TooManyStarts(`more than ${rate.perMinute} programs a minute`);
      left -= 1;
      return await programs.start(program);
    },
  };
}

/**
 * The same for each of several services, each with its own rate: a flood at one of them costs the others no program.
 *
 * @returns gives the programs of a service; it keeps a few bytes for every name that it was ever asked for
 */
export function limitStartsOfEach(programs: Programs, rate: StartRate): (service: string) => Programs {
  const limited = new Map<string, Programs>();
  return (service) => {
    let own = limited.get(service);
    if (own === undefined) {
      own = limitStarts(programs, rate);
      limited.set(service, own);
    }
    return own;
  };
}

function monotonic(): number {
  return performance.now();
}
