/** Reads durations and sizes as people write them in the configuration: "500ms", "5s", "2m", "1h"; "512B", "64KiB", "4MiB", "1GiB". */

const millisecondsPer = new Map([
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
]);

/** What a duration looks like, for the JSON Schema; `parseDuration` judges. */
export const durationPattern = "^(0|[0-9]{1,12}([.][0-9]{1,6})?(ms|s|m|h))$";

/** The longest time that a Node timer can wait; a longer one would fire at once. */
const maxTimerMs = 2 ** 31 - 1;

/**
 * Milliseconds of "500ms", "5s", "2m", "1h" or "0".
 *
 * @returns undefined when the text is no duration, or when it is longer than a timer can wait (24 days)
 */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  const [, digits = "", unit = ""] = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h)$/.exec(text) ?? [];
  const value = Math.round(Number(digits) * (millisecondsPer.get(unit) ?? Number.NaN));
  return value <= maxTimerMs ? value : undefined;
}

const bytesPer = new Map([
  ["B", 1],
  ["KiB", 2 ** 10],
  ["MiB", 2 ** 20],
  ["GiB", 2 ** 30],
]);

/** What a size looks like, for the JSON Schema; `parseSize` judges. */
export const sizePattern = "^[0-9]{1,12}([.][0-9]{1,6})?(B|KiB|MiB|GiB)$";

/** Bytes of "512B", "64KiB", "4MiB" or "1GiB"; undefined when the text is no size. */
export function parseSize(text: string): number | undefined {
  const [, digits = "", unit = ""] = /^(\d{1,12}(?:\.\d{1,6})?)(B|KiB|MiB|GiB)$/.exec(text) ?? [];
  const bytes = Math.round(Number(digits) * (bytesPer.get(unit) ?? Number.NaN));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
