/** Puts a unix socket in its place with its owner and mode, before anybody can connect to it. */

import { chmodSync, chownSync, lstatSync, renameSync, rmSync, statSync } from "node:fs";
import { connect, type Server } from "node:net";
import { findIdentity } from "./identity.ts";

export interface OwnedSocketOptions {
  readonly path: string;
  /** User and group by name; absent = ours. */
  readonly owner?: string;
  readonly group?: string;
  readonly mode: number;
}

/** A socket in its place. */
export interface PlacedSocket {
  /** Removes the file if it is still ours; a successor may have put its own there. */
  readonly remove: () => void;
}

/**
 * Listens under another name first, and renames when owner and mode are right. A socket that nobody listens on, as a daemon
 * leaves it that was killed, is replaced.
 *
 * @throws when the path is taken by a daemon that lives or by a file that is no socket, and when a step is not allowed
 */
export async function placeSocket(
  server: Server,
  { path, owner, group, mode }: OwnedSocketOptions,
): Promise<PlacedSocket> {
  await assertFree(path);
  const identity =
    owner === undefined && group === undefined
      ? undefined
      : await findIdentity({
          ...(owner === undefined ? undefined : { user: owner }),
          ...(group === undefined ? undefined : { group }),
        });
  const first = `${path}.${process.pid}`;
  rmSync(first, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    // Nobody but us can reach it until it has its own mode. The file is made before `listen` returns.
    const umask = process.umask(0o177);
    server.listen(first, () => {
      server.off("error", reject);
      resolve();
    });
    process.umask(umask);
  });
  server.on("error", () => undefined);
  try {
    if (identity !== undefined) chownSync(first, identity.uid ?? process.getuid?.() ?? -1, identity.gid);
    chmodSync(first, mode);
    const { ino } = statSync(first);
    renameSync(first, path);
    return { remove: () => removeIf(path, ino) };
  } catch (cause) {
    server.close();
    rmSync(first, { force: true });
    throw cause;
  }
}

async function assertFree(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${path} is there and is no socket`);
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on("error", (cause: NodeJS.ErrnoException) => resolve(cause.code !== "ECONNREFUSED"));
  });
  if (isAlive) throw new Error(`another daemon answers on ${path}`);
}

function removeIf(path: string, inode: number): void {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.ino === inode) rmSync(path, { force: true });
  } catch {
    // Who has given up root may not remove it any more: nobody listens on it, so the next start replaces it.
  }
}
