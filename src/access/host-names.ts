/** Lists the host names that tables ask for by their whole name: those worth following through DNS (`names.forward`). */
import { exactNames } from "./names.ts";
import type { HostPattern } from "./pattern.ts";
import type { Table, Tables } from "./tables.ts";

/** Values of a name that are no host. */
const RESERVED = new Set(["unknown", "paranoid"]);

/** Every whole name of both tables and of the files that they name, once each, in lower case. */
export function hostNames({ allow, deny, lists }: Tables): ReadonlySet<string> {
  const names = new Set<string>();
  for (const table of [allow, deny]) for (const name of namesOfTable(table)) names.add(name);
  for (const { patterns, index } of lists.values()) {
    if (index !== undefined) for (const name of exactNames(index.hosts.names)) names.add(name);
    for (const rank of index?.scanned ?? range(patterns.length)) addName(patterns.at(rank), names);
  }
  for (const word of RESERVED) names.delete(word);
  return names;
}

function namesOfTable({ rules, index }: Table): Set<string> {
  const names = new Set<string>(index === undefined ? [] : exactNames(index.hosts.names));
  for (const rank of index?.scanned ?? range(rules.length)) {
    for (const part of rules.at(rank)?.clients ?? []) for (const { host } of part) addName(host, names);
  }
  return names;
}

function addName(pattern: HostPattern | undefined, names: Set<string>): void {
  if (pattern?.kind === "text" && pattern.mayBeName && pattern.pattern.kind === "exact")
    names.add(pattern.pattern.text);
}

function* range(length: number): Generator<number> {
  for (let index = 0; index < length; index++) yield index;
}
