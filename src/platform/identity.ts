/** Who a program runs as: user and group names of this machine turned into numbers. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";

/** The numbers to run with. */
export interface Identity {
  /** Absent: only the group changes. */
  readonly uid?: number;
  readonly gid: number;
  /** Supplementary groups, the main one included; empty = none. */
  readonly groups: readonly number[];
  /** False where we run with these ids already. */
  readonly needsRoot: boolean;
}

/**
 * Finds the numbers of a user, a group, or both.
 *
 * Read anew each time, so that an account made a minute ago counts. First the two files; a name that they do not have (LDAP and
 * its kind) is asked of getent(1), which knows nsswitch.conf. Digits are names here, as in getpwnam(3).
 *
 * Rejects with `unknown user: "X"` or `unknown group: "X"`.
 */
export async function findIdentity(names: { user?: string; group?: string }): Promise<Identity> {
  const group = names.group === undefined ? undefined : await findEntry("group", names.group);
  if (names.group !== undefined && group === undefined) throw new Error(`unknown group: "${names.group}"`);
  if (names.user === undefined) {
    const gid = Number(group?.[2]);
    return { gid, groups: [], needsRoot: process.getegid?.() !== gid };
  }
  const user = await findEntry("passwd", names.user);
  if (user === undefined) throw new Error(`unknown user: "${names.user}"`);
  const uid = Number(user[2]);
  const gid = Number(group?.[2] ?? user[3]);
  const groups = [...new Set([gid, ...(await findMemberships(names.user))])];
  return { uid, gid, groups, needsRoot: process.geteuid?.() !== uid || process.getegid?.() !== gid };
}

/** One line of passwd(5) or group(5), split; undefined where the name is not known. */
async function findEntry(database: "passwd" | "group", name: string): Promise<string[] | undefined> {
  // Also keeps a name from being an option of getent.
  if (!/^[A-Za-z0-9_.][A-Za-z0-9_.@$-]*$/.test(name)) return undefined;
  const isWanted = (fields: string[]): boolean => fields[0] === name && /^\d+$/.test(fields[2] ?? "");
  const entry = (await readEntries(database)).find(isWanted);
  return entry ?? entriesOf(await getent(database, name)).find(isWanted);
}

async function findMemberships(user: string): Promise<number[]> {
  return (await readEntries("group"))
    .filter((fields) => (fields[3] ?? "").split(",").includes(user) && /^\d+$/.test(fields[2] ?? ""))
    .map((fields) => Number(fields[2]));
}

async function readEntries(database: "passwd" | "group"): Promise<string[][]> {
  try {
    return entriesOf(await readFile(`/etc/${database}`, "utf8"));
  } catch {
    return []; // a bare container may have no such file: then no name is known
  }
}

function entriesOf(text: string): string[][] {
  return text
    .split("\n")
    .filter((line) => line.includes(":"))
    .map((line) => line.split(":"));
}

async function getent(database: string, name: string): Promise<string> {
  return await new Promise((resolve) => {
    execFile("getent", [database, name], { timeout: 2000, maxBuffer: 1_048_576 }, (error, stdout) =>
      resolve(error === null ? stdout : ""),
    );
  });
}
