/** Asks DNS about the host names in rules (`check --resolve`): whether they lead to an address, and back. */

import { readRule } from "../access/criticise-rule.ts";
import { hostNames } from "../access/host-names.ts";
import type { Table, Tables } from "../access/tables.ts";
import type { Diagnostic } from "../access/types.ts";
import type { Place } from "../config/configuration.ts";
import type { Settings } from "../config/schema.ts";
import { Lookups } from "../identify/lookups.ts";
import { BackendNames } from "../relay/backend-names.ts";
import { remark } from "./check-configuration.ts";

/** Names that are asked for at most, and at once. */
const maxNames = 1000;
const atOnce = 16;

/** Remarks on every whole host name in the tables. Never rejects. */
export async function checkNames(tables: Tables, { names, ident }: Settings): Promise<Diagnostic[]> {
  const asked = [...hostNames(tables)].slice(0, maxNames);
  const places = placesOf([tables.allow, tables.deny]);
  const forwards = new BackendNames(names);
  const lookups = new Lookups({
    reverse: "needed",
    timeoutMs: names.timeout,
    servers: names.servers,
    hostsFile: names.hostsFile,
    identTimeoutMs: ident.timeout,
  });
  const found: Diagnostic[] = [];
  const work = async (): Promise<void> => {
    for (let name = asked.pop(); name !== undefined; name = asked.pop()) {
      const place = places.get(name) ?? { file: tables.allow.file, line: 0 };
      found.push(...(await checkName(name, place, forwards, lookups, names.forward)));
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, work));
    return found;
  } finally {
    forwards.close();
    lookups.close();
  }
}

async function checkName(
  name: string,
  place: Place,
  forwards: BackendNames,
  lookups: Lookups,
  followsNames: boolean,
): Promise<Diagnostic[]> {
  let addresses: readonly string[];
  try {
    addresses = await forwards.resolve(name);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    return [remark("unresolved-name", place, `"${name}" has no address (${code})`)];
  }
  if (followsNames) return [];
  const never = new AbortController().signal;
  const back = await Promise.all(
    addresses.map(async (address) => {
      const request = { daemon: "unknown", client: { address }, server: { address: "unknown" } };
      const { client } = await lookups.find({ kind: "clientName" }, request, never);
      return { address, found: client.name ?? "unknown" };
    }),
  );
  return back
    .filter(({ found }) => found !== name)
    .map(({ address, found }) => {
      const message = `"${name}" has the address ${address}, whose name is "${found}": the rule does not match it`;
      return remark("name-not-confirmed", place, message, `write "${address}", or names: {forward: true}`);
    });
}

/** Where each name stands first. */
function placesOf(tables: readonly Table[]): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const { file, rules } of tables) {
    for (const { text, line } of rules) {
      for (const word of readRule({ text, line, isPlain: true }, true).clientWords) {
        const name = word.text.slice(word.text.lastIndexOf("@") + 1).toLowerCase();
        if (!places.has(name)) places.set(name, { file, line });
      }
    }
  }
  return places;
}
