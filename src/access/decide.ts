/** Tables and a request in; a verdict out, or the fact that is needed first. */
import type { Diagnostic, Endpoint, Fact, Request, Step } from "./types.ts";
import type { Rule, Table, Tables } from "./tables.ts";
import { matchAny, matchList, type Answer } from "./list.ts";
import { isInNetgroup } from "./netgroup.ts";
import { matchNet4, matchNet6, matchText, subject } from "./pattern.ts";
import type { ClientPattern, DaemonPattern, HostPattern, TextPattern } from "./pattern.ts";
import { parseIpv6, parseQuad } from "./addresses.ts";
import { applyOptions, placeProblem, type Applied } from "./options.ts";
import { asBytes, lowerCase, readable } from "./text.ts";

/** One side of the connection, made ready for the patterns. */
interface Side {
  readonly address: string;
  readonly name: string | undefined;
  /** The fact to ask for while the name is absent. */
  readonly ask: Fact;
}

/** What the patterns are asked about. */
interface Subject {
  readonly tables: Tables;
  readonly daemon: string;
  readonly port: number | undefined;
  readonly user: string | undefined;
  readonly client: Side;
  readonly server: Side;
}

/** Where a scan of one table has stopped. */
type Scan =
  | { readonly kind: "match"; readonly rule: Rule }
  | { readonly kind: "none" }
  | { readonly kind: "broken"; readonly problem: Diagnostic }
  | { readonly kind: "need"; readonly fact: Fact };

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
    const scan = scanTable(table, about);
    if (scan.kind === "match") return runRule(table, scan.rule, tables, request, diagnostics);
    if (scan.kind === "need") return scan;
    if (scan.kind === "none") continue;
    diagnostics.push(scan.problem);
    if (table === tables.deny) return { kind: "refuse", reason: "error", effects: [], diagnostics };
  }
  return { kind: tables.noMatch, reason: "no_match", effects: [], diagnostics };
}

function scanTable(table: Table, about: Subject): Scan {
  for (const rule of table.rules) {
    const daemon = matchList(rule.daemons, (pattern) => matchDaemon(pattern, about));
    if (daemon === false) continue;
    if (daemon !== true) return { kind: "need", fact: daemon };
    const client = matchList(rule.clients, (pattern) => matchClient(pattern, about));
    if (client === true) return { kind: "match", rule };
    if (client !== false) return { kind: "need", fact: client };
  }
  return table.broken === undefined ? { kind: "none" } : { kind: "broken", problem: table.broken };
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

const NO_OPTIONS: Applied = { kind: "applied", verdict: "default", effects: [], problems: [] };

function matchDaemon({ left, server }: DaemonPattern, about: Subject): Answer {
  const isSame = typeof left === "number" ? about.port === left : matchText(left, about.daemon);
  return isSame && server !== undefined ? matchHost(server, about.server, about.tables) : isSame;
}

function matchClient({ host, user }: ClientPattern, about: Subject): Answer {
  const answer = matchHost(host, about.client, about.tables);
  return answer === true && user !== undefined ? matchUser(user, about.user) : answer;
}

function matchUser(pattern: TextPattern, user: string | undefined): Answer {
  return user === undefined ? { kind: "user" } : matchText(pattern, user);
}

function matchHost(pattern: HostPattern, side: Side, tables: Tables): Answer {
  switch (pattern.kind) {
    case "netgroup":
      return side.name === undefined ? side.ask : isInNetgroup(tables.netgroups, pattern.group, side.name);
    case "file":
      return matchAny(tables.lists.get(pattern.path) ?? [], (word) => matchHost(word, side, tables));
    case "KNOWN":
      return side.name === undefined ? side.ask : side.address !== "unknown" && isKnownName(side.name);
    case "LOCAL":
      return side.name === undefined ? side.ask : !side.name.includes(".") && isKnownName(side.name);
    case "net4": {
      const address = parseQuad(side.address);
      return address !== undefined && matchNet4(pattern.net, pattern.mask, address);
    }
    case "net6": {
      const address = parseIpv6(side.address, () => true);
      return address !== undefined && matchNet6(pattern.net, pattern.bits, address);
    }
    case "text":
      if (matchText(pattern.pattern, side.address)) return true;
      if (!pattern.mayBeName) return false;
      return side.name === undefined ? side.ask : matchText(pattern.pattern, side.name);
    case "dead":
  }
  return false;
}

function isKnownName(name: string): boolean {
  return name !== "unknown" && name !== "paranoid";
}

function aboutRequest(tables: Tables, request: Request): Subject {
  return {
    tables,
    daemon: subject(asBytes(request.daemon)),
    port: request.server.port,
    user: request.user === undefined ? undefined : subject(asBytes(request.user)),
    client: side(request.client, { kind: "clientName" }),
    server: side(request.server, { kind: "serverName" }),
  };
}

function side({ address, name }: Endpoint, ask: Fact): Side {
  return {
    address: subject(asBytes(address)),
    name: name === undefined ? undefined : subject(lowerCase(asBytes(name))),
    ask,
  };
}
