/**
 * The folder beside the control socket in which workers that have outlived their daemon answer, each on a socket by the number of its
 * process. It belongs to the workers' user, so what is in it is taken with care.
 */

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  type Stats,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";

/** User and group by number. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** open(2): the file itself, not what is in it or behind it. */
const O_PATH = 0o10_000_000;

/** What the address of a unix socket holds, unix(7); the file has another name at first, with two numbers of ten digits at most. */
const maxPathBytes = 107;
const nameBytes = "/4294967295.4294967295".length;

/** Where it is. */
export function olderFolder(controlSocket: string): string {
  return `${controlSocket}.older`;
}

/**
 * Makes it, for us and for workers that run as `workerUid`, and for nobody else.
 *
 * A root that may not do everything (CapabilityBoundingSet=) reaches the sockets by the group, which they have from their folder.
 *
 * @throws when it cannot be made, or is there and belongs to somebody else
 */
export function prepareOlderFolder(folder: string, own: Owner, workerUid: number): void {
  if (Buffer.byteLength(folder) + nameBytes > maxPathBytes)
    throw new Error(`the path of the control socket is too long for sockets beside it in ${folder}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (own.uid !== 0 && lstatSync(folder).uid !== own.uid)
    throw new Error(`${folder} is there, and belongs to somebody else; remove it`);
  // By descriptor: nobody can put something else in its place between two of these steps.
  const descriptor = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    // Root takes it over from the user of before; what is in it counts by its own owner.
    const { uid, mode } = fstatSync(descriptor);
    const wanted = workerUid === own.uid ? 0o700 : 0o2770;
    if ((mode & 0o7777) !== wanted) fchmodSync(descriptor, wanted);
    if (uid !== workerUid) fchownSync(descriptor, workerUid, own.gid);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Whether it is as `prepareOlderFolder` makes it: a worker must not answer where others can reach it.
 *
 * @param uids who it may belong to
 */
export function isOlderFolder(folder: string, uids: readonly number[]): boolean {
  try {
    const found = lstatSync(folder);
    return found.isDirectory() && uids.includes(found.uid) && (found.mode & 0o007) === 0;
  } catch {
    return false;
  }
}

/** More files than there are ever workers; the rest is not looked at. */
const maxFiles = 1000;

/** The names of the sockets in it that belong to one of `uids`, by the number of a process; none where it is not as it should be. */
export function olderSockets(folder: string, uids: readonly number[]): readonly number[] {
  if (!isOlderFolder(folder, uids)) return [];
  return namesIn(folder)
    .filter((name) => /^[1-9]\d{0,9}$/.test(name))
    .slice(0, maxFiles)
    .map(Number)
    .filter((pid) => {
      const found = lstatSync(join(folder, String(pid)), { throwIfNoEntry: false });
      return found !== undefined && isSocketOf(found, uids);
    });
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * Does something by way of one of the sockets: by its descriptor, so that it is the one that was looked at, whatever stands in its place
 * a moment later.
 *
 * @param use gets a path that leads to it, for as long as it runs
 * @returns undefined where it is no socket of `uids` any more
 */
export async function withSocket<Value>(
  folder: string,
  pid: number,
  uids: readonly number[],
  use: (path: string) => Promise<Value>,
): Promise<Value | undefined> {
  let descriptor: number;
  try {
    descriptor = openSync(join(folder, String(pid)), O_PATH | constants.O_NOFOLLOW);
  } catch {
    return undefined;
  }
  try {
    return isSocketOf(fstatSync(descriptor), uids) ? await use(`/proc/self/fd/${descriptor}`) : undefined;
  } finally {
    closeSync(descriptor);
  }
}

/** A worker that was killed has left it there. */
export function removeSocket(folder: string, pid: number): void {
  try {
    unlinkSync(join(folder, String(pid)));
  } catch {
    // Somebody else has removed it, or nobody may: it is no worker that answers.
  }
}

function isSocketOf(found: Stats, uids: readonly number[]): boolean {
  return found.isSocket() && uids.includes(found.uid);
}
