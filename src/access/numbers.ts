/** Numbers as C reads them from text, because tables have been written for those rules. */
import { isSpace } from "./text.ts";

const LONG_MAX = 2n ** 63n - 1n;
const ULONG_MAX = 2n ** 64n - 1n;

/** atoi(3): blanks, a sign, leading digits; junk after them is ignored, no digits are 0; wraps to 32 bits. */
export function atoi(text: string): number {
  return toInt(scan(text, /^[+-]?\d+/).digits);
}

/** What sscanf(3) with "%d%c" takes: a signed number and nothing after it; absent where it would not be alone. */
export function wholeInt(text: string): number | undefined {
  const { digits, rest } = scan(text, /^[+-]?\d+/);
  return digits === "" || rest !== "" ? undefined : toInt(digits);
}

/** What sscanf(3) with "%u%c" takes, modulo 2^32. */
export function wholeUnsigned(text: string): number | undefined {
  const { digits, rest } = scan(text, /^[+-]?\d+/);
  return digits === "" || rest !== "" ? undefined : toUnsigned(digits, "");
}

/** What sscanf(3) with "%o%c" takes, modulo 2^32. */
export function wholeOctal(text: string): number | undefined {
  const { digits, rest } = scan(text, /^[+-]?[0-7]+/);
  return digits === "" || rest !== "" ? undefined : toUnsigned(digits, "0o");
}

function scan(text: string, number: RegExp): { digits: string; rest: string } {
  let start = 0;
  while (isSpace(text.charCodeAt(start))) start++;
  const digits = number.exec(text.slice(start))?.[0] ?? "";
  return { digits, rest: text.slice(start + digits.length) };
}

function toInt(digits: string): number {
  const { isNegative, magnitude } = signAndMagnitude(digits, "");
  const limit = isNegative ? LONG_MAX + 1n : LONG_MAX;
  const clamped = magnitude > limit ? limit : magnitude;
  return Number(BigInt.asIntN(32, isNegative ? -clamped : clamped));
}

function toUnsigned(digits: string, prefix: string): number {
  const { isNegative, magnitude } = signAndMagnitude(digits, prefix);
  if (magnitude > ULONG_MAX) return Number(BigInt.asUintN(32, ULONG_MAX));
  return Number(BigInt.asUintN(32, isNegative ? -magnitude : magnitude));
}

function signAndMagnitude(digits: string, prefix: string): { isNegative: boolean; magnitude: bigint } {
  const unsigned = digits.replace(/^[+-]/, "").replace(/^0+(?=.)/, "");
  // Longer than any 64-bit number in any base used here: past the limit anyway, and no cost that grows.
  const magnitude = unsigned.length > 30 ? 2n ** 70n : BigInt(prefix + unsigned);
  return { isNegative: digits.startsWith("-"), magnitude };
}
