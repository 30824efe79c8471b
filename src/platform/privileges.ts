/** Gives up root for good, and makes sure of it. */

import { accessSync, constants, readFileSync } from "node:fs";
import { findIdentity, type Identity } from "./identity.ts";

/** Thrown when privileges cannot be given up as asked; nothing may be served then. */
export class PrivilegeError extends Error {
  override readonly name = "PrivilegeError";
  readonly hint = "see process.user in tcpwrapd.yaml(5)";
}

/** Who the workers shall be. */
export type WorkerIdentity =
  | { readonly kind: "stay" }
  | { readonly kind: "become"; readonly identity: Identity }
  /** Something is not as it should be; `message` says what to do. */
  | { readonly kind: "warn"; readonly code: string; readonly message: string };

/**
 * Finds who the workers shall be.
 *
 * @param names of `process.user` and `process.group`
 *
 * Rejects with a `PrivilegeError` for a name that nobody has.
 */
export async function findWorkerIdentity(names: {
  readonly user?: string | undefined;
  readonly group?: string | undefined;
}): Promise<WorkerIdentity> {
  const { user, group } = names;
  const isRoot = process.geteuid?.() === 0;
  if (user === undefined && group === undefined) {
    if (!isRoot) return { kind: "stay" };
    const message =
      "the workers run as root, because process.user does not say who else they may be; make a system user (useradd -r tcpwrapd) and write process: {user: tcpwrapd}";
    return { kind: "warn", code: "runs-as-root", message };
  }
  let identity: Identity;
  try {
    identity = await findIdentity({
      ...(user === undefined ? undefined : { user }),
      ...(group === undefined ? undefined : { group }),
    });
  } catch (cause) {
    throw new PrivilegeError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
  if (!identity.needsRoot) return { kind: "stay" };
  if (isRoot) return { kind: "become", identity };
  const message = `only root can become user "${user ?? ""}" and group "${group ?? ""}": process.user and process.group have no effect`;
  return { kind: "warn", code: "not-root", message };
}

/**
 * Becomes somebody else, for good.
 *
 * @throws PrivilegeError when a step fails, when root could come back, or when a capability is left
 *
 * Order: setgroups, setgid, setuid, as each needs what the last one gives up. Source: credentials(7), capabilities(7).
 */
export function dropPrivileges({ uid, gid, groups }: Identity): void {
  try {
    process.setgroups?.([...groups]);
    process.setgid?.(gid);
    if (uid !== undefined) process.setuid?.(uid);
  } catch (cause) {
    throw new PrivilegeError(`cannot give up root: ${String(cause)}`, { cause });
  }
  const found = privilegesLeft(uid, gid);
  if (found !== undefined) throw new PrivilegeError(`root was not given up: ${found}`);
}

/**
 * Programs that stand before a worker's own and become it (exec): no new privileges by set-user-id programs, no capability that
 * could come back, no core file with what clients said. What this machine lacks is left out.
 */
export function confinement(): string[] {
  const setpriv = findTool("setpriv");
  const prlimit = findTool("prlimit");
  return [
    ...(prlimit === undefined ? [] : [prlimit, "--core=0:0", "--"]),
    ...(setpriv === undefined
      ? []
      : [setpriv, "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--"]),
  ];
}

/** What is left that should not be; undefined when all is gone. A group alone leaves root what it is. */
function privilegesLeft(uid: number | undefined, gid: number): string | undefined {
  if (process.getgid?.() !== gid || process.getegid?.() !== gid) return "the group is another one";
  if (uid === undefined || uid === 0) return undefined;
  if (process.getuid?.() !== uid || process.geteuid?.() !== uid) return "the user is another one";
  for (const back of [() => process.setuid?.(0), () => process.seteuid?.(0)]) {
    try {
      back();
      return "it can be had back";
    } catch {
      // As it must be: EPERM.
    }
  }
  const capabilities = heldCapabilities();
  return capabilities === undefined || capabilities === 0n
    ? undefined
    : `capabilities ${capabilities.toString(16)} are left`;
}

/** Effective, permitted, inheritable and ambient together; undefined where there is no /proc. Source: proc_pid_status(5). */
function heldCapabilities(): bigint | undefined {
  try {
    const status = readFileSync("/proc/self/status", "latin1");
    const sets = [...status.matchAll(/^Cap(?:Inh|Prm|Eff|Amb):\s*([0-9a-f]+)$/gm)];
    return sets.reduce((all, [, set = "0"]) => all | BigInt(`0x${set}`), 0n);
  } catch {
    return undefined;
  }
}

function findTool(name: string): string | undefined {
  return ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
    .map((folder) => `${folder}/${name}`)
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
