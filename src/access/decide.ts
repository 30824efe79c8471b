/** Tables and a request in; a verdict out, or the fact that is needed first. */
import type { Diagnostic, Fact, Request, Step } from "./types.ts";
import type { Rule, Table, Tables } from "./tables.ts";
import type { TableIndex } from "./compiled.ts";
import { aboutRequest, matchClients, matchDaemon, matchRule, type Side, type Subject } from "./match.ts";
import { findAddress, findAsking, type IndexedAddress } from "./host-index.ts";
import { findText } from "./names.ts";
import { matchList } from "./list.ts";
import { NONE } from "./ranges.ts";
import { applyOptions, placeProblem, type Applied } from "./options.ts";
import { readable } from "./text.ts";

/** Where a search of one table has ended. */
type Found =
  | { readonly kind: "match"; readonly rule: Rule }
  | { readonly kind: "none" }
  | { readonly kind: "need"; readonly fact: Fact };

const NOT_FOUND: Found = { kind: "none" };
const NO_OPTIONS: Applied = { kind: "applied", verdict: "default", effects: [], problems: [] };

/**
 * Asks the tables about a connection.
 *
 * The allow table first, then the deny table; in each the first rule that matches ends it, unless neither has one,
 * when `noMatch` holds. Asks for a missing fact exactly where tcpd would look it up, and for no other; asked again with
 * the fact added, it starts from the beginning. Never throws. Source: hosts_access(5).
 */
export function decide(tables: Tables, request: Request): Step {
  const about = aboutRequest(tables, request);
  const diagnostics: Diagnostic[] = [];
  for (const table of [tables.allow, tables.deny]) {
    const found = findRule(table, about);
    if (found.kind === "match") return runRule(table, found.rule, tables, request, diagnostics);
    if (found.kind === "need") return found;
    if (table.broken === undefined) continue;
    diagnostics.push(table.broken);
    if (table === tables.deny) return { kind: "refuse", reason: "error", effects: [], diagnostics };
  }
  return { kind: tables.noMatch, reason: "no_match", effects: [], diagnostics };
}

function findRule(table: Table, about: Subject): Found {
  const { index } = table;
  const { indexed } = about.client;
  return index === undefined || indexed === undefined
    ? askAll(table, about)
    : askIndex(table, index, indexed, about);
}

function askAll({ rules }: Table, about: Subject): Found {
  for (const rule of rules) {
    const answer = matchRule(rule, about);
    if (answer === true) return { kind: "match", rule };
    if (answer !== false) return { kind: "need", fact: answer };
  }
  return NOT_FOUND;
}

/**
 * The first rule, without asking them all: the index knows the first one that the address or the name matches, and the
 * first one that would ask for the name. Rules that no index can hold are asked one by one as far as that place.
 */
function askIndex({ rules }: Table, index: TableIndex, address: IndexedAddress, about: Subject): Found {
  const groups = index.groupsFor(
    about.daemon,
    about.port,
    (list) => matchList(list, (pattern) => matchDaemon(pattern, about)) === true,
  );
  const { numbers, flags } = groups;
  const { name, ask }: Side = about.client;
  let found = findAddress(index.hosts, address, numbers, flags);
  let asking = NONE;
  if (name === undefined) asking = findAsking(index.hosts, numbers);
  else found = Math.min(found, findText(index.hosts.names, name, flags, true));
  const limit = Math.min(found, asking);
  for (let place = 0; (index.scanned[place] ?? NONE) < limit; place++) {
    const rule = index.scannedRule(place, groups);
    if (rule === undefined) continue;
    const answer = index.isGrouped(place) ? matchClients(rule, about) : matchRule(rule, about);
    if (answer === true) return { kind: "match", rule };
    if (answer !== false) return { kind: "need", fact: answer };
  }
  if (limit === NONE) return NOT_FOUND;
  if (asking < found) return { kind: "need", fact: ask };
  const rule = rules.at(found);
  if (rule === undefined) return NOT_FOUND;
  // Within one rule the order of its words tells whether the name is asked for before the address matches.
  const answer = asking === found ? matchClients(rule, about) : true;
  return typeof answer === "boolean" ? { kind: "match", rule } : { kind: "need", fact: answer };
}

function runRule(
  table: Table,
  rule: Rule,
  tables: Tables,
  request: Request,
  before: readonly Diagnostic[],
): Step {
  const { file } = table;
  const { line } = rule;
  const applied =
    rule.options === undefined ? NO_OPTIONS : applyOptions(rule.options, request, tables.accounts);
  if (applied.kind === "need") return applied;
  const { verdict, effects, severity, twist } = applied;
  const outcome = {
    rule: { file, line, text: readable(rule.text) },
    reason: verdict === "error" ? ("error" as const) : ("rule" as const),
    effects,
    diagnostics: [...before, ...applied.problems.map((problem) => placeProblem(problem, file, line))],
    ...(severity !== undefined && { severity }),
  };
  if (twist !== undefined) return { kind: "twist", command: twist, ...outcome };
  const kind = verdict === "default" ? (table === tables.allow ? "allow" : "refuse") : verdict;
  return { kind: kind === "allow" ? "allow" : "refuse", ...outcome };
}
