/** Names connections: short, unique on this machine, and sorted by time. */
import { randomInt } from "node:crypto";

const DIGITS = "0123456789abcdefghjkmnpqrstvwxyz";

/**
 * Makes a source of ids: nine digits of milliseconds since the epoch, four that tell processes apart, two that count
 * within the millisecond, all base 32. A clock that goes back does not repeat an id: the time of the last one is kept.
 *
 * @param instance tells the processes of one machine apart, 0 to 2^20 - 1
 */
export function idSource(now: () => number, instance: number = randomInt(2 ** 20)): () => string {
  const own = digits(instance, 4);
  let lastMs = 0;
  let prefix = "";
  let count = 0;
  return () => {
    const ms = now();
    if (ms > lastMs || count === PER_MILLISECOND) {
      lastMs = Math.max(ms, lastMs + 1);
      prefix = digits(lastMs, 9) + own;
      count = 0;
    }
    return prefix + (COUNTS[count++] ?? "");
  };
}

const PER_MILLISECOND = 32 ** 2;

/** Every count within a millisecond as text: an id is made for each connection. */
const COUNTS: readonly string[] = Array.from({ length: PER_MILLISECOND }, (_, count) => digits(count, 2));

function digits(value: number, width: number): string {
  let text = "";
  let rest = Math.floor(value);
  for (let place = 0; place < width; place++) {
    text = (DIGITS[rest % 32] ?? "0") + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}
