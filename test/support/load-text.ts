/** Tables from texts, for tests that need no disk. */
import { loadTables, type Loaded, type LoadOptions } from "../../src/config/load.ts";
import type { Source } from "../../src/access/types.ts";

/** Loads a pair of tables and the files that they name, by path; a file that is not given is missing. */
export function loadText(
  allow: string,
  deny: string,
  files: Readonly<Record<string, string | Source>> = {},
  noMatch: "allow" | "refuse" = "allow",
  criticism?: LoadOptions["criticism"],
): Loaded {
  const all: Record<string, string | Source> = { "hosts.allow": allow, "hosts.deny": deny, ...files };
  const read = (path: string): Source => {
    const file = all[path] ?? { kind: "missing" };
    return typeof file === "string" ? { kind: "text", bytes: Buffer.from(file, "latin1") } : file;
  };
  const options = { allow: "hosts.allow", deny: "hosts.deny", noMatch, read, interfaces: new Set(["lo"]) };
  return loadTables(criticism === undefined ? options : { ...options, criticism });
}
