/** What a pair of tables was made of, so that another process can make the same pair again when the files are no longer so. */

import { createHash } from "node:crypto";
import type { Tables } from "../access/tables.ts";
import type { Source } from "../access/types.ts";
import { interfaceNames } from "../platform/interfaces.ts";
import { nisDomain } from "../platform/nis-domain.ts";
import { loadTablesInBackground } from "./load-background.ts";
import { type Loaded, loadTables } from "./load.ts";

/** Both tables and all that they name, as bytes. */
export interface Snapshot {
  /** Under which names the tables stand in `sources`, and in records. */
  readonly allow: string;
  readonly deny: string;
  readonly noMatch: "allow" | "refuse";
  readonly sources: ReadonlyMap<string, Source>;
}

/** Files of more bytes than this together are loaded in the background. */
export const largeBytes = 512 * 1024;

/** What stands for a path that a snapshot does not have: a table that cannot be read lets nobody in. */
export const notKept: Source = { kind: "unreadable", reason: "nobody has kept it" };

/** Takes one; nothing is copied. */
export function snapshotOf({
  tables,
  sources,
}: {
  readonly tables: Tables;
  readonly sources: Snapshot["sources"];
}): Snapshot {
  return { allow: tables.allow.file, deny: tables.deny.file, noMatch: tables.noMatch, sources };
}

/** Makes the tables again; large ones in a thread. Rejects only where that thread cannot do its work. */
export async function restore({ allow, deny, noMatch, sources }: Snapshot): Promise<Loaded> {
  const interfaces = interfaceNames();
  const domain = nisDomain();
  const size = Array.from(sources.values(), (source) => bytesOf(source).length).reduce(
    (sum, each) => sum + each,
    0,
  );
  if (size > largeBytes)
    return await loadTablesInBackground({ allow, deny, noMatch, interfaces, domain, sources });
  return loadTables({
    allow,
    deny,
    noMatch,
    interfaces,
    domain,
    read: (path) => sources.get(path) ?? notKept,
  });
}

/** Whether two snapshots make the same tables. */
export function isSameSnapshot(one: Snapshot, other: Snapshot): boolean {
  return (
    one.allow === other.allow &&
    one.deny === other.deny &&
    one.noMatch === other.noMatch &&
    one.sources.size === other.sources.size &&
    Array.from(one.sources).every(([path, source]) => {
      const there = other.sources.get(path);
      return there !== undefined && isSameContent(source, there);
    })
  );
}

/** Tells whether files are still as they were, where their content itself is not at hand: equal for equal contents only. */
export function fingerprint(sources: Snapshot["sources"]): string {
  const hash = createHash("sha256");
  for (const path of [...sources.keys()].sort()) {
    const source = sources.get(path) ?? notKept;
    const bytes = bytesOf(source);
    hash.update(JSON.stringify([path, source.kind, bytes.length])).update(bytes);
  }
  return hash.digest("base64");
}

/** Whether what somebody calls a snapshot is one: it may come from a worker that is in somebody else's hands. */
export function isSnapshot(said: unknown): said is Snapshot {
  if (typeof said !== "object" || said === null) return false;
  const { allow, deny, noMatch, sources } = said as Partial<Record<keyof Snapshot, unknown>>;
  return (
    typeof allow === "string" &&
    typeof deny === "string" &&
    (noMatch === "allow" || noMatch === "refuse") &&
    sources instanceof Map &&
    Array.from(sources).every(([path, source]) => typeof path === "string" && isSource(source))
  );
}

/** Whether two files say the same. */
export function isSameContent(one: Source, other: Source): boolean {
  return one.kind === other.kind && Buffer.compare(bytesOf(one), bytesOf(other)) === 0;
}

/** The bytes of a file; none where it has none. */
export function bytesOf(source: Source): Uint8Array {
  return source.kind === "text" ? source.bytes : new Uint8Array();
}

function isSource(said: unknown): boolean {
  if (typeof said !== "object" || said === null) return false;
  const { kind, bytes, reason } = said as Readonly<Record<string, unknown>>;
  switch (kind) {
    case "text":
      return bytes instanceof Uint8Array;
    case "unreadable":
      return typeof reason === "string";
    default:
      return kind === "missing" || kind === "directory";
  }
}
