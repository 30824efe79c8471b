/** Descriptors that our own parent left open for us without meaning to. */
import { closeSync, readFileSync, readdirSync } from "node:fs";

const CLOSE_ON_EXEC = 0o2000000; // O_CLOEXEC of Linux, the same on all of its machines that Node runs on

/**
 * Closes every descriptor above 2 that a program started by us would inherit. Call it once, first of all, before anything is opened.
 *
 * Node opens its own descriptors close-on-exec, and marks inherited ones so only up to the first gap above 15: a higher one
 * (a lock, a log, a socket of whoever started us) would go on into every twisted command.
 *
 * @param keep descriptors that are ours by agreement, such as those of LISTEN_FDS
 * @returns those it has closed; empty where there is no /proc
 */
export function closeInherited(keep: ReadonlySet<number> = new Set()): number[] {
  const strays = listInheritable().filter((descriptor) => !keep.has(descriptor));
  for (const descriptor of strays) closeSync(descriptor);
  return strays;
}

/** Closes one that came from outside and that nobody wants. */
export function closeDescriptor(descriptor: number): void {
  closeSync(descriptor);
}

/** The descriptors above 2 that a program started now would get besides its own. */
export function listInheritable(): number[] {
  return readNames("/proc/self/fdinfo")
    .map(Number)
    .filter((descriptor) => descriptor > 2 && isInheritable(descriptor));
}

function isInheritable(descriptor: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1"))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    return false; // the one that listed the directory is closed by now
  }
}

function readNames(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
