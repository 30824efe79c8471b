/** Processor time and memory of programs, from /proc. */

import { readdirSync, readFileSync } from "node:fs";

/** Seconds of processor time of a process and of everything it has started, also of what has ended. */
export function processorSeconds(pid: number): number {
  return family(pid).reduce((sum, each) => sum + secondsOf(each), 0);
}

/** Memory of a process and of everything it has started, in bytes; what is shared counts in part (Pss). */
export function memoryBytes(pid: number): number {
  return family(pid).reduce((sum, each) => sum + bytesOf(each), 0);
}

/** Seconds of processor time of the whole machine since it started. */
export function machineSeconds(): number {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = (
    readFileSync("/proc/stat", "latin1").split("\n", 1)[0] ?? ""
  )
    .split(/\s+/)
    .map(Number);
  return (user + nice + system + irq + softirq) / ticksPerSecond;
}

/** USER_HZ; the same on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** Threads that live, to the nanosecond; children that have ended, to the tick. proc(5). */
function secondsOf(pid: number): number {
  try {
    let nanoseconds = 0;
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ", 1)[0]);
    }
    const fields = statOf(pid);
    return nanoseconds / 1e9 + (Number(fields[13]) + Number(fields[14])) / ticksPerSecond;
  } catch {
    // It has ended meanwhile, and is counted by its parent.
    return 0;
  }
}

function bytesOf(pid: number): number {
  try {
    const [, kiB = "0"] = /^Pss: +(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "latin1")) ?? [];
    return Number(kiB) * 1024;
  } catch {
    return 0;
  }
}

/** Kills a process and everything it has started: a worker must not outlive the master that would have ended it. */
export function killFamily(pid: number): void {
  for (const each of family(pid)) {
    try {
      process.kill(each, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
}

function family(pid: number): readonly number[] {
  const childrenOf = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parent = Number(statOf(Number(name))[1]);
      childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), Number(name)]);
    } catch {
      // It has ended meanwhile.
    }
  }
  const all: number[] = [pid];
  for (const each of all) all.push(...(childrenOf.get(each) ?? []));
  return all;
}

/** The fields of /proc/PID/stat behind the name, which may hold anything. */
function statOf(pid: number): readonly string[] {
  return readFileSync(`/proc/${pid}/stat`, "latin1")
    .replace(/^.*\) /s, "")
    .split(" ");
}
