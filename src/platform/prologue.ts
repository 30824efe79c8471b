/** Puts what Node cannot set for a child alone before a program: each by a program that becomes the next one (exec). */
import { accessSync, constants } from "node:fs";
import type { Identity } from "./identity.ts";

/** What is to be set before the program begins. */
export interface Settings {
  readonly umask?: number;
  readonly nice?: number;
  readonly ignoresHangup?: boolean;
  readonly identity?: Identity;
}

/** The programs that do it, where this machine has them. */
export interface Tools {
  readonly nice?: string;
  readonly setpriv?: string;
}

/** What to start: the whole chain, and the ids that Node has to set because no program of the chain does. */
export interface Start {
  readonly argv: readonly [file: string, ...args: string[]];
  readonly uid?: number;
  readonly gid?: number;
}

/** Where programs are looked for, by us and by the shell we start. */
export const CLEAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Node raises its own soft limit of descriptors to the hard one, and a child inherits that. What was written for inetd may close
 * every possible descriptor at its start, so it gets the kernel's default back; it can raise it again.
 */
const SOFT_DESCRIPTOR_LIMIT = 1024;

/**
 * The chain: a shell that sets umask, limit and signals, then nice, then the identity, then the program. Its own words are only ever
 * arguments; nothing but numbers of ours is written into the shell's text.
 *
 * @param isRoot whether we may become somebody else with supplementary groups of our choice
 */
export function prologue(
  argv: readonly [file: string, ...args: string[]],
  { umask, nice, ignoresHangup, identity }: Settings,
  tools: Tools,
  isRoot: boolean,
): Start {
  const statements = [`ulimit -S -n ${SOFT_DESCRIPTOR_LIMIT} 2>/dev/null`];
  if (ignoresHangup === true) statements.push("trap '' HUP");
  if (umask !== undefined) statements.push(`umask ${octal(umask)}`);
  const chain: [string, ...string[]] = ["/bin/sh", "-c", `${statements.join("; ")}; exec "$@"`, "sh"];
  // Before the identity: lowering the nice value takes the privilege that a new identity gives up.
  if (nice !== undefined && tools.nice !== undefined) chain.push(tools.nice, "-n", String(Math.trunc(nice)));
  if (identity?.needsRoot !== true) return { argv: [...chain, ...argv] };
  if (isRoot && tools.setpriv !== undefined) {
    chain.push(tools.setpriv, ...privileges(identity), "--");
    return { argv: [...chain, ...argv] };
  }
  // Node empties the supplementary groups before it changes the ids: fewer rights than asked for, never more.
  const { uid, gid } = identity;
  return { argv: [...chain, ...argv], gid, ...(uid === undefined ? {} : { uid }) };
}

/** Looks for the programs of the chain once. */
export function findTools(): Tools {
  const [nice, setpriv] = ["nice", "setpriv"].map((name) =>
    CLEAN_PATH.split(":")
      .map((folder) => `${folder}/${name}`)
      .find(isExecutable),
  );
  return { ...(nice === undefined ? {} : { nice }), ...(setpriv === undefined ? {} : { setpriv }) };
}

function octal(umask: number): string {
  return (umask & 0o777).toString(8).padStart(4, "0");
}

function privileges({ uid, gid, groups }: Identity): string[] {
  const user = uid === undefined ? [] : [`--reuid=${uid}`];
  return [...user, `--regid=${gid}`, groups.length === 0 ? "--clear-groups" : `--groups=${groups.join(",")}`];
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
