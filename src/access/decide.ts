/** Tables and a request in; a verdict out, or the fact that is needed first. */
import type { Diagnostic, Fact, Request, Step } from "./types.ts";
import type { MatchedRule, Rules, Table, Tables } from "./tables.ts";
import type { Groups, TableIndex } from "./compiled.ts";
import { aboutRequest, matchClients, matchDaemon, matchRule, type Side, type Subject } from "./match.ts";
import { findAddress, findAsking, type IndexedAddress } from "./host-index.ts";
import { findExactName, findText } from "./names.ts";
import { matchList, type List } from "./list.ts";
import type { DaemonPattern } from "./pattern.ts";
import { NONE } from "./ranges.ts";
import { applyOptions, placeProblem } from "./options.ts";

/** Where a search of one table has ended. */
type Found =
  | { readonly kind: "match"; readonly index: number; readonly rule: MatchedRule }
  | { readonly kind: "none" }
  | { readonly kind: "need"; readonly fact: Fact };

const NOT_FOUND: Found = { kind: "none" };
const NOTHING: readonly never[] = [];

/**
 * Asks the tables about a connection.
 *
 * The allow table first, then the deny table; in each the first rule that matches ends it, unless neither has one,
 * when `noMatch` holds. Asks for a missing fact exactly where tcpd would look it up, and for no other; asked again with
 * the fact added, it starts from the beginning. Never throws. Source: hosts_access(5).
 */
export function decide(tables: Tables, request: Request): Step {
  const about = aboutRequest(tables, request);
  const { allow, deny, noMatch } = tables;
  const inAllow = findRule(allow, about);
  if (inAllow.kind === "need") return inAllow;
  if (inAllow.kind === "match") return runRule(allow, inAllow, tables, request, NOTHING);
  const before: readonly Diagnostic[] = allow.broken === undefined ? NOTHING : [allow.broken];
  const inDeny = findRule(deny, about);
  if (inDeny.kind === "need") return inDeny;
  if (inDeny.kind === "match") return runRule(deny, inDeny, tables, request, before);
  if (deny.broken === undefined)
    return { kind: noMatch, reason: "no_match", effects: NOTHING, diagnostics: before };
  return { kind: "refuse", reason: "error", effects: NOTHING, diagnostics: [...before, deny.broken] };
}

function findRule(table: Table, about: Subject): Found {
  const { index } = table;
  const { indexed } = about.client;
  return index === undefined || indexed === undefined
    ? askAll(table, about)
    : askIndex(table, index, indexed, about);
}

function askAll({ rules }: Table, about: Subject): Found {
  let index = 0;
  for (const rule of rules) {
    const answer = matchRule(rule, about);
    if (answer === true) return matched(rules, index);
    index++;
    if (answer !== false) return { kind: "need", fact: answer };
  }
  return NOT_FOUND;
}

/**
 * The first rule, without asking them all: the index knows the first one that the address or the name matches, and the
 * first one that would ask for the name. Rules that no index can hold are asked one by one as far as that place.
 */
function askIndex({ rules }: Table, index: TableIndex, address: IndexedAddress, about: Subject): Found {
  const groups = index.groupsOf(about.daemon, about.port) ?? openGroups(index, about);
  const { numbers, flags } = groups;
  const { hashed, forwardNames, ask }: Side = about.client;
  let found = findAddress(index.hosts, address, numbers, flags);
  let asking = NONE;
  if (hashed === undefined) asking = findAsking(index.hosts, numbers);
  else found = Math.min(found, findText(index.hosts.names, hashed, flags, true));
  for (const each of forwardNames) found = Math.min(found, findExactName(index.hosts.names, each, flags));
  const limit = Math.min(found, asking);
  for (let place = 0; (index.scanned[place] ?? NONE) < limit; place++) {
    const rule = index.scannedRule(place, groups);
    if (rule === undefined) continue;
    const answer = index.isGrouped(place) ? matchClients(rule, about) : matchRule(rule, about);
    if (answer === true) return matched(rules, index.scanned[place] ?? 0);
    if (answer !== false) return { kind: "need", fact: answer };
  }
  if (limit === NONE) return NOT_FOUND;
  if (asking < found) return { kind: "need", fact: ask };
  // Within one rule the order of its words tells whether the name is asked for before the address matches.
  const inDoubt = asking === found ? rules.at(found) : undefined;
  const answer = inDoubt === undefined || matchClients(inDoubt, about);
  if (typeof answer === "object") return { kind: "need", fact: answer };
  return matched(rules, found);
}

function matched(rules: Rules, index: number): Found {
  const rule = rules.matched(index);
  return rule === undefined ? NOT_FOUND : { kind: "match", index, rule };
}

function openGroups(index: TableIndex, about: Subject): Groups {
  const matches = (list: List<DaemonPattern>): boolean =>
    matchList(list, (pattern) => matchDaemon(pattern, about)) === true;
  return index.openGroups(about.daemon, about.port, matches);
}

function runRule(
  table: Table,
  { index, rule }: Extract<Found, { kind: "match" }>,
  tables: Tables,
  request: Request,
  before: readonly Diagnostic[],
): Step {
  const { file } = table;
  const { line, options } = rule;
  const place = { file, line, index };
  const usual = table === tables.allow ? "allow" : "refuse";
  if (options === undefined) {
    return { kind: usual, reason: "rule", rule: place, effects: NOTHING, diagnostics: before };
  }
  const applied = applyOptions(options, request, tables.accounts);
  if (applied.kind === "need") return applied;
  const { verdict, effects, severity, twist } = applied;
  const outcome = {
    rule: place,
    reason: verdict === "error" ? ("error" as const) : ("rule" as const),
    effects,
    diagnostics: [...before, ...applied.problems.map((problem) => placeProblem(problem, file, line))],
    ...(severity !== undefined && { severity }),
  };
  if (twist !== undefined) return { ...outcome, kind: "twist", command: twist };
  const kind = verdict === "default" ? usual : verdict;
  return { ...outcome, kind: kind === "allow" ? "allow" : "refuse" };
}
