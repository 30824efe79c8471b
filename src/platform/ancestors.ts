/** What the processes that have started this one were told. */

import { readFileSync } from "node:fs";

/** More of them are a loop, or somebody's joke. */
const maxAncestors = 64;

/** The environments of our parent, its parent and so on, of those that we may read. Source: proc(5). */
export function* ancestorEnvironments(): Generator<ReadonlyMap<string, string>> {
  let pid = process.ppid;
  for (let count = 0; pid > 0 && count < maxAncestors; count += 1) {
    const environment = readOf(pid, "environ");
    if (environment !== undefined) yield parse(environment);
    // The name of the program, in parentheses, may hold anything, parentheses too.
    const [, parent = "0"] = /^[^]*\) \S (\d+)/.exec(readOf(pid, "stat") ?? "") ?? [];
    pid = Number(parent);
  }
}

/** Undefined where it is not ours to read, or gone. */
function readOf(pid: number, file: "environ" | "stat"): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return undefined;
  }
}

function parse(environment: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const variable of environment.split("\0")) {
    const at = variable.indexOf("=");
    if (at > 0) found.set(variable.slice(0, at), variable.slice(at + 1));
  }
  return found;
}
