/** Rules and patterns against what is known of a connection, one by one: the meaning of the language. */
import type { Endpoint, Fact, Request } from "./types.ts";
import type { HostList, Rule, Tables } from "./tables.ts";
import type { ClientPattern, DaemonPattern, HostPattern, TextPattern } from "./pattern.ts";
import { matchNet4, matchNet6, matchText, subject } from "./pattern.ts";
import { findAddress, findAsking, indexedAddress, type IndexedAddress } from "./host-index.ts";
import { findExactName, findText, hashText, type HashedText } from "./names.ts";
import { matchList, type Answer } from "./list.ts";
import { isInNetgroup } from "./netgroup.ts";
import { NONE } from "./ranges.ts";
import { ONE_GROUP } from "./compiled.ts";
import { parseIpv6, parseQuad } from "./addresses.ts";

/** One side of the connection, made ready for the patterns. */
export interface Side {
  /** Lower case, an IPv4-mapped one unwrapped. */
  readonly address: string;
  /** Lower case; absent = not asked. */
  readonly name: string | undefined;
  /** The name for an index. */
  readonly hashed: HashedText | undefined;
  /** Names that lead to the address, in lower case: a pattern that is one of them matches without the name. */
  readonly forwardNames: readonly string[];
  /** The fact to ask for while the name is absent. */
  readonly ask: Fact;
  /** For an index; absent where the address or the name is in a form that no index knows. */
  readonly indexed: IndexedAddress | undefined;
  /** The answers of the `/file`s that have been asked: a table may name one a thousand times, and files inside files multiply. */
  lists: Map<string, Answer> | undefined;
}

/** What the patterns are asked about. */
export interface Subject {
  readonly tables: Tables;
  readonly daemon: string;
  readonly port: number | undefined;
  /** As it came; absent = not asked. */
  readonly user: string | undefined;
  readonly client: Side;
  /** As it came: few rules ask for it. */
  readonly server: Endpoint;
  /** The same, made ready by the first that asks. */
  serverSide: Side | undefined;
}

const CLIENT_NAME: Fact = { kind: "clientName" };
const SERVER_NAME: Fact = { kind: "serverName" };
const USER: Fact = { kind: "user" };
const NO_NAMES: readonly string[] = [];

/** What is known of a connection, in the form that patterns are written for. */
export function aboutRequest(tables: Tables, request: Request): Subject {
  return {
    tables,
    daemon: subject(request.daemon),
    port: request.server.port,
    user: request.user,
    client: sideOf(request.client, CLIENT_NAME),
    server: request.server,
    serverSide: undefined,
  };
}

/** Does a rule match? The clients are asked only if the daemon matches. */
export function matchRule(rule: Rule, about: Subject): Answer {
  const daemon = matchList(rule.daemons, (pattern) => matchDaemon(pattern, about));
  return daemon === true ? matchClients(rule, about) : daemon;
}

/** Does the client list of a rule match? */
export function matchClients(rule: Rule, about: Subject): Answer {
  return matchList(rule.clients, (pattern) => matchClient(pattern, about));
}

/** Does a word of a daemon list match? A port is compared with the local port and never with the daemon's name. */
export function matchDaemon({ left, server }: DaemonPattern, about: Subject): Answer {
  const isSame = typeof left === "number" ? about.port === left : matchText(left, about.daemon);
  if (!isSame || server === undefined) return isSame;
  about.serverSide ??= sideOf(about.server, SERVER_NAME);
  return matchHost(server, about.serverSide, about.tables);
}

function matchClient({ host, user }: ClientPattern, about: Subject): Answer {
  const answer = matchHost(host, about.client, about.tables);
  return answer === true && user !== undefined ? matchUser(user, about.user) : answer;
}

function matchUser(pattern: TextPattern, user: string | undefined): Answer {
  return user === undefined ? USER : matchText(pattern, subject(user));
}

function matchHost(pattern: HostPattern, side: Side, tables: Tables): Answer {
  switch (pattern.kind) {
    case "netgroup":
      return side.name === undefined ? side.ask : isInNetgroup(tables.netgroups, pattern.group, side.name);
    case "file":
      return matchFile(pattern.path, side, tables);
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
      if (isForwardName(pattern.pattern, side)) return true;
      return side.name === undefined ? side.ask : matchText(pattern.pattern, side.name);
    case "dead":
  }
  return false;
}

function matchFile(path: string, side: Side, tables: Tables): Answer {
  const list = tables.lists.get(path);
  if (list === undefined) return false;
  const known = side.lists?.get(path);
  if (known !== undefined) return known;
  const answer = matchHostList(list, side, tables);
  side.lists ??= new Map();
  side.lists.set(path, answer);
  return answer;
}

/** The words of a `/file`, in order; by its index where that knows the address. */
function matchHostList(list: HostList, side: Side, tables: Tables): Answer {
  const { index } = list;
  const ask = (pattern: HostPattern | undefined): Answer =>
    pattern !== undefined &&
    !(pattern.kind === "file" && list.leftOut.has(pattern.path)) &&
    matchHost(pattern, side, tables);
  if (index === undefined || side.indexed === undefined) {
    for (let rank = 0; rank < list.patterns.length; rank++) {
      const answer = ask(list.patterns.at(rank));
      if (answer !== false) return answer;
    }
    return false;
  }
  const { numbers, flags } = ONE_GROUP;
  let found = findAddress(index.hosts, side.indexed, numbers, flags);
  if (side.hashed !== undefined)
    found = Math.min(found, findText(index.hosts.names, side.hashed, flags, true));
  for (const name of side.forwardNames)
    found = Math.min(found, findExactName(index.hosts.names, name, flags));
  const asking = side.name === undefined ? findAsking(index.hosts, numbers) : NONE;
  const limit = Math.min(found, asking);
  for (let place = 0; (index.scanned[place] ?? NONE) < limit; place++) {
    const answer = ask(index.scannedPattern(place));
    if (answer !== false) return answer;
  }
  // A word that is an address and a name at once is compared with the address first.
  if (found <= asking) return found !== NONE;
  return side.ask;
}

function isForwardName(pattern: TextPattern, { forwardNames }: Side): boolean {
  return forwardNames.length > 0 && pattern.kind === "exact" && forwardNames.includes(pattern.text);
}

function isKnownName(name: string): boolean {
  return name !== "unknown" && name !== "paranoid";
}

function sideOf({ address, name, forwardNames = NO_NAMES }: Endpoint, ask: Fact): Side {
  const hashed = name === undefined ? undefined : hashedName(name);
  // Only a name with a colon could be taken for an IPv6 address.
  const isUsual = hashed === undefined || hashed.isPlain || !hashed.text.includes(":");
  const indexed = isUsual ? indexedAddress(address) : undefined;
  const text = indexed === undefined ? subject(address) : indexed.text;
  return { address: text, name: hashed?.text, hashed, forwardNames, ask, indexed, lists: undefined };
}

function hashedName(name: string): HashedText {
  const hashed = hashText(name);
  return hashed.isPlain ? hashed : hashText(subject(name));
}
