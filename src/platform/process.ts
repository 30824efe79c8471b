/** What the process is told and allowed by the machine: stop signals, and how many descriptors it may open. */

import { readFileSync } from "node:fs";
import { getHeapStatistics } from "node:v8";

export type StopSignal = "SIGTERM" | "SIGINT" | "SIGQUIT";

/**
 * Calls `onStop` at each stop signal, counted from 1: the first asks to drain, the second to end at once.
 *
 * @returns takes the handlers off again
 */
export function watchStopSignals(onStop: (count: number, signal: StopSignal) => void): () => void {
  let count = 0;
  const signals: readonly StopSignal[] = ["SIGTERM", "SIGINT", "SIGQUIT"];
  const handler = (signal: NodeJS.Signals): void => {
    count += 1;
    onStop(count, signal as StopSignal);
  };
  for (const signal of signals) process.on(signal, handler);
  return () => {
    for (const signal of signals) process.off(signal, handler);
  };
}

/** Calls `onReload` at each SIGHUP, which ends the process where nobody hears it. Returns what takes the handler off again. */
export function watchReloadSignal(onReload: () => void): () => void {
  process.on("SIGHUP", onReload);
  return () => process.off("SIGHUP", onReload);
}

/** Calls `tell` with every error that nobody has caught; without, the process would end, and all its sessions with it. */
export function watchUncaught(tell: (error: unknown) => void): void {
  process.on("uncaughtException", tell);
}

/** The soft limit of open files. Source: /proc/self/limits, proc(5); 1024, the usual one, where that cannot be read. */
export function descriptorLimit(): number {
  try {
    const [, soft = ""] = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "latin1")) ?? [];
    return /^\d+$/.test(soft) ? Number(soft) : 1024 * 1024;
  } catch {
    return 1024;
  }
}

/** Limit of the JavaScript heap in bytes: V8's own, from the memory of the machine or the container, or --max-old-space-size. */
export function heapLimit(): number {
  return getHeapStatistics().heap_size_limit;
}

/** Our process id: what %p expands to, and what the tag of a syslog line carries. */
export function processId(): number {
  return process.pid;
}

/** Whose rights we have now. */
export function effectiveUser(): number {
  return process.geteuid?.() ?? 0;
}

/** Who the files that we make belong to. */
export function effectiveOwner(): { readonly uid: number; readonly gid: number } {
  return { uid: effectiveUser(), gid: process.getegid?.() ?? 0 };
}

/** Sets what others may not do with files made by us and by programs that we start; tcpd's is 022. */
export function setUmask(mask: number): void {
  process.umask(mask);
}
