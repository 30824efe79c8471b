/** Who else may change the files that a decision rests on: what sshd's StrictModes asks of authorized_keys. */

import { lstatSync, readlinkSync, type Stats } from "node:fs";
import { dirname, join } from "node:path";
import { CODES } from "../access/codes.ts";
import { fileName } from "../access/text.ts";
import type { Diagnostic } from "../access/types.ts";
import { shownPath, systemPath } from "../platform/paths.ts";
import { effectiveUser } from "../platform/process.ts";

/** The codes of what is found here. */
type WritersCode = "world-writable" | "group-writable" | "foreign-owner";

/** Links to links at most, as in the kernel. */
const maxLinks = 40;

/**
 * Finds every file, folder and symbolic link on the way to these paths that somebody else can change: not root, not the user
 * that we run as, and not `user`.
 *
 * @param paths for `systemPath`; those that are not absolute are no files
 * @param user a user who is trusted too
 * @returns one remark for each of them, on the first path that it leads to
 */
export function findWriters(paths: Iterable<string>, user?: number): Diagnostic[] {
  const trusted = new Set([0, effectiveUser(), user]);
  const found: Diagnostic[] = [];
  const seen = new Set<string>();
  for (const path of paths) {
    if (!path.startsWith("/")) continue;
    const way = [...stepsTo(path)];
    for (const [index, step] of way.entries()) {
      if (seen.has(step)) continue;
      seen.add(step);
      const next = way[index + 1];
      const fault = faultOf(step, next === undefined || lookAt(next) !== undefined, trusted);
      if (fault !== undefined) found.push({ file: shownPath(path), line: 0, ...fault });
    }
  }
  return found;
}

/** Whether a remark is one of `findWriters`. */
export function isAboutWriters({ code }: Diagnostic): boolean {
  const codes: readonly string[] = [
    "world-writable",
    "group-writable",
    "foreign-owner",
  ] satisfies WritersCode[];
  return codes.includes(code);
}

/** Everything that decides where a path leads to, from the root on, until nothing is there any more. */
function* stepsTo(path: string): Generator<string> {
  const left = path.split("/");
  let at = "/";
  let links = 0;
  yield at;
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === "" || name === ".") continue;
    if (name === "..") {
      at = dirname(at);
      continue;
    }
    const next = join(at, name);
    yield next;
    const target = lookAt(next)?.isSymbolicLink() === true ? linkTarget(next) : undefined;
    if (target === undefined) at = next;
    else if (++links > maxLinks) return;
    else {
      if (target.startsWith("/")) at = "/";
      left.unshift(...target.split("/"));
    }
  }
}

function faultOf(
  step: string,
  hasNext: boolean,
  trusted: ReadonlySet<number | undefined>,
): Omit<Diagnostic, "file" | "line"> | undefined {
  const stats = lookAt(step);
  const path = shownPath(step);
  if (stats === undefined) return undefined;
  if (!stats.isFile() && !stats.isDirectory() && !stats.isSymbolicLink()) return undefined;
  if (!trusted.has(stats.uid)) {
    const message = `"${path}" belongs to the user with the number ${stats.uid}, who can change who gets in`;
    return remark("foreign-owner", message, `chown ${stats.isSymbolicLink() ? "-h " : ""}root ${path}`);
  }
  if (stats.isSymbolicLink()) return undefined; // the mode of a link means nothing
  // With the sticky bit nobody replaces what others have there, but a file that is not there yet can be put there by anybody.
  if (stats.isDirectory() && (stats.mode & 0o1000) !== 0 && hasNext) return undefined;
  if ((stats.mode & 0o002) !== 0) {
    const message = `"${path}" is world-writable: everybody on this machine can change who gets in`;
    return remark("world-writable", message, `chmod o-w ${path}`);
  }
  if ((stats.mode & 0o020) === 0) return undefined;
  const message = `"${path}" is group-writable: everybody in the group with the number ${stats.gid} can change who gets in`;
  return remark("group-writable", message, `chmod g-w ${path}`);
}

function remark(code: WritersCode, message: string, hint: string): Omit<Diagnostic, "file" | "line"> {
  return { severity: CODES[code].severity, code, message, hint };
}

function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(systemPath(path), { throwIfNoEntry: false });
  } catch {
    return undefined; // that it cannot be read is told by who reads it
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return fileName(readlinkSync(systemPath(path), "buffer").toString("latin1"));
  } catch {
    return undefined; // gone meanwhile
  }
}
