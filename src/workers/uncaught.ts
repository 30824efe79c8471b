/** What becomes of an error that nobody has caught. */

import type { Journal } from "../record/journal.ts";

/** So many within a minute are no accident of one connection: the process is not what it should be. */
const maxInMinute = 100;

/** Of the stack, what names the place. */
const maxLines = 4;

/**
 * Tells and counts: the sessions of everybody else go on. What it happened in is left as it is, and has its limits of time.
 *
 * @param end ends the process when there are too many; a supervisor starts another one
 * @returns to be called with each error
 */
export function uncaughtTeller(
  journal: Pick<Journal, "diagnose">,
  end: () => void,
  now: () => number = () => performance.now(),
): (error: unknown) => void {
  let total = 0;
  let inMinute = 0;
  let minuteEndsMs = 0;
  return (error) => {
    total += 1;
    if (now() >= minuteEndsMs) {
      inMinute = 0;
      minuteEndsMs = now() + 60_000;
    }
    inMinute += 1;
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const where = stack
      .split("\n", maxLines)
      .map((line) => line.trim())
      .join(" ");
    journal.diagnose("error", {
      code: "uncaught",
      message: `error number ${total} that nobody caught: ${where}`,
    });
    if (inMinute > maxInMinute) end();
  };
}
