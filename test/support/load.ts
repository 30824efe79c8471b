/** Steady load: so many new connections a second, each asking one question, until it is stopped. */

import type { TestContext } from "node:test";
import { talk } from "./peers.ts";

/** What became of the connections. */
export interface LoadResult {
  readonly answered: number;
  /** How those that were not answered ended, counted by their error. */
  readonly failed: Readonly<Record<string, number>>;
}

/** Starts it; the function that comes back stops it and waits for the last answer. */
export function startLoad(
  t: TestContext,
  port: number,
  perSecond: number,
  from = "127.0.0.1",
): () => Promise<LoadResult> {
  let answered = 0;
  const failed: Record<string, number> = {};
  const open = new Set<Promise<void>>();
  const one = async (): Promise<void> => {
    const { text, end } = await talk(port, { say: "?", from });
    if (text === "?" && end === "end") answered += 1;
    else failed[end] = (failed[end] ?? 0) + 1;
  };
  const timer = setInterval(() => {
    const asked = one().finally(() => open.delete(asked));
    open.add(asked);
  }, 1000 / perSecond);
  t.after(() => clearInterval(timer));
  return async () => {
    clearInterval(timer);
    await Promise.all(open);
    return { answered, failed };
  };
}

/** All failures, of whatever kind. */
export function failures({ failed }: LoadResult): number {
  return Object.values(failed).reduce((sum, count) => sum + count, 0);
}
