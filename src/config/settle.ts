/** Decides, pure, how long a changed table must have been quiet before it counts as completely written. */

import type { FileState, Looked } from "./files.ts";

/** One reading of a file: what the kernel said of it, and its content. */
export interface Reading {
  readonly state: Looked;
  readonly bytes: Uint8Array;
}

/** Nothing says "the writer has closed the file" to another process, so time and content must; milliseconds of quiet. */
export const settleMs = {
  /** A file that is gone, empty or cut off in a line looks like one that is just being written. */
  unfinished: 500,
  /** Truncated and written again in place, and every line whole. */
  rewritten: 200,
  /** A new file under the name: mostly renamed there, and then complete; but it may be under construction. */
  replaced: 20,
  /** Whole lines added at the end, or a rename, chmod or chown after the last write: nothing is left to come. */
  complete: 0,
} as const;

/** File times move in steps of the kernel's tick (4 ms, at most 10): within them a second edit can go unseen. */
export const racyMs = 20;

/**
 * Milliseconds for which a file must have been quiet before `after` may come into force in place of `before`.
 *
 * @param before absent = there was none yet: whatever is there at start counts at once
 */
export function quietNeededMs(before: Reading | undefined, after: Reading): number {
  if (before === undefined) return settleMs.complete;
  if (!isPresent(after.state)) return settleMs.unfinished;
  if (isPresent(before.state) && isSame(before.bytes, after.bytes)) return settleMs.complete;
  if (!isWhole(after.bytes)) return settleMs.unfinished;
  if (after.state.changedMs > after.state.modifiedMs) return settleMs.complete;
  if (!isPresent(before.state) || before.state.inode !== after.state.inode) return settleMs.replaced;
  if (startsWith(after.bytes, before.bytes)) return settleMs.complete;
  return startsWith(before.bytes, after.bytes) ? settleMs.unfinished : settleMs.rewritten;
}

/**
 * As `quietNeededMs`, for a large file that is not read for it: told by its size and its last two bytes.
 *
 * @param before absent = there was none yet
 */
export function quietNeededUnreadMs(before: Looked | undefined, after: Looked, tail: Uint8Array): number {
  if (before === undefined) return settleMs.complete;
  if (!isPresent(after) || !isWhole(tail)) return settleMs.unfinished;
  if (after.changedMs > after.modifiedMs) return settleMs.complete;
  if (!isPresent(before) || before.inode !== after.inode) return settleMs.replaced;
  return after.size > before.size ? settleMs.complete : settleMs.unfinished;
}

function isPresent(state: Looked): state is FileState {
  return typeof state === "object" && "inode" in state;
}

function isSame(before: Uint8Array, after: Uint8Array): boolean {
  return before.length === after.length && startsWith(after, before);
}

const newline = 0x0a;
const backslash = 0x5c;

/** Ends with a newline that ends a rule: not empty, not cut off in a line, not in the middle of a continued one. */
function isWhole(bytes: Uint8Array): boolean {
  return bytes.at(-1) === newline && bytes.at(-2) !== backslash;
}

function startsWith(bytes: Uint8Array, beginning: Uint8Array): boolean {
  if (beginning.length > bytes.length) return false;
  for (let index = 0; index < beginning.length; index += 1) {
    if (bytes[index] !== beginning[index]) return false;
  }
  return true;
}
