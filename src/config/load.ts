/** Reads both access tables and every file that they name into one value to decide by. */
import type { Diagnostic, Source } from "../access/types.ts";
import type { Accounts, Rule, Table, Tables } from "../access/tables.ts";
import type { HasInterface, HostPattern } from "../access/pattern.ts";
import { checkOptions, placeProblem } from "../access/options.ts";
import { parseNetgroups, type Netgroups } from "../access/netgroup.ts";
import { parseListFile, parseTable } from "../access/parse.ts";
import { byteString, readable } from "../access/text.ts";

/** Reads at most `maxBytes` of a file; whatever is no plain file, or is longer, is "unreadable". Never throws. */
export type Read = (path: string, maxBytes: number) => Source;

/** What is to be loaded. */
export interface LoadOptions {
  /** Path of hosts.allow. */
  readonly allow: string;
  /** Path of hosts.deny. */
  readonly deny: string;
  readonly noMatch: "allow" | "refuse";
  readonly read: Read;
  /** Names of the network interfaces; absent = every name passes. A scope id in a pattern must name one. */
  readonly interfaces?: ReadonlySet<string>;
}

/** The tables in force after a load, and what a reload must look at. */
export interface Loaded {
  readonly tables: Tables;
  /** Every file that the tables depend on, the missing ones too: a change in one of them is a change of the tables. */
  readonly paths: readonly string[];
  readonly allowRules: number;
  readonly denyRules: number;
  readonly diagnostics: readonly Diagnostic[];
}

/** Bytes in one file at most: a table or a `/file`. */
export const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Files inside files at most. */
export const MAX_NESTING = 16;

const NETGROUP = "/etc/netgroup";
const PASSWD = "/etc/passwd";
const GROUP = "/etc/group";

/** Loads both tables. Bad input comes back as diagnostics; never throws, if `read` does not. */
export function loadTables({ allow, deny, noMatch, read, interfaces }: LoadOptions): Loaded {
  const hasInterface: HasInterface = (name) => interfaces?.has(name) ?? true;
  const diagnostics: Diagnostic[] = [];
  const paths = new Set<string>([allow, deny]);
  const open = (file: string): Table => {
    const parsed = parseTable(file, read(file, MAX_FILE_BYTES), hasInterface);
    diagnostics.push(...parsed.diagnostics);
    return parsed.value;
  };
  const tables = { allow: open(allow), deny: open(deny) };
  const lists = new ListLoader(read, hasInterface, paths, diagnostics);
  let hasNetgroups = false;
  let hasAccounts = false;
  for (const table of [tables.allow, tables.deny]) {
    for (const rule of table.rules) {
      for (const host of hostsOf(rule)) {
        if (host.kind === "file") lists.need(host.path, { file: table.file, line: rule.line });
        hasNetgroups ||= host.kind === "netgroup";
      }
      hasAccounts ||= /(?:user|group)/i.test(rule.options ?? "");
    }
  }
  hasNetgroups ||= lists.hasNetgroups;
  const netgroups = hasNetgroups ? readNetgroups(read, paths) : new Map();
  const accounts = hasAccounts ? readAccounts(read, paths) : undefined;
  for (const table of [tables.allow, tables.deny]) diagnostics.push(...optionProblems(table, accounts));
  return {
    tables: { ...tables, noMatch, lists: lists.lists, netgroups, ...(accounts && { accounts }) },
    paths: [...paths],
    allowRules: tables.allow.rules.length,
    denyRules: tables.deny.rules.length,
    diagnostics,
  };
}

/** Reads the `/file` lists that rules name, and those that lists name. */
class ListLoader {
  readonly lists = new Map<string, readonly HostPattern[]>();
  hasNetgroups = false;
  /** Lists inside each list, itself counted. */
  private readonly heights = new Map<string, number>();
  private readonly open = new Set<string>();
  private readonly read: Read;
  private readonly hasInterface: HasInterface;
  private readonly paths: Set<string>;
  private readonly diagnostics: Diagnostic[];

  constructor(read: Read, hasInterface: HasInterface, paths: Set<string>, diagnostics: Diagnostic[]) {
    this.read = read;
    this.hasInterface = hasInterface;
    this.paths = paths;
    this.diagnostics = diagnostics;
  }

  /** Makes sure that the list at `path` is there; `place` names it. False where it may not be used at that place. */
  need(path: string, place: { file: string; line: number }): boolean {
    if (this.open.has(path)) {
      const message = `"${readable(path)}" includes itself; it is left out here`;
      this.diagnostics.push({ ...place, severity: "error", code: "list-includes-itself", message });
      return false;
    }
    if (!this.heights.has(path)) this.load(path, place);
    if (this.open.size + (this.heights.get(path) ?? 0) <= MAX_NESTING) return true;
    const message = `more than ${MAX_NESTING} files inside each other; "${readable(path)}" is left out here`;
    this.diagnostics.push({ ...place, severity: "error", code: "list-too-deep", message });
    return false;
  }

  private load(path: string, place: { file: string; line: number }): void {
    const name = readable(path);
    this.paths.add(name);
    // One more than may be used is opened, to tell that it is too many, and no further.
    if (this.open.size > MAX_NESTING) {
      this.heights.set(path, 1);
      return;
    }
    const source = this.read(name, MAX_FILE_BYTES);
    if (source.kind !== "text") {
      const reason = source.kind === "missing" ? "no such file" : source.reason;
      const code = source.kind === "missing" ? "list-missing" : "list-unreadable";
      const message = `cannot open "${name}": ${reason}; it matches nothing`;
      this.diagnostics.push({ ...place, severity: "warning", code, message });
      this.heights.set(path, 1);
      return;
    }
    this.open.add(path);
    let height = 0;
    const patterns = parseListFile(source.bytes, this.hasInterface).map((pattern): HostPattern => {
      this.hasNetgroups ||= pattern.kind === "netgroup";
      if (pattern.kind !== "file") return pattern;
      if (!this.need(pattern.path, { file: name, line: 0 })) return { kind: "dead" };
      height = Math.max(height, this.heights.get(pattern.path) ?? 0);
      return pattern;
    });
    this.open.delete(path);
    this.heights.set(path, height + 1);
    this.lists.set(path, patterns);
  }
}

function* hostsOf(rule: Rule): Generator<HostPattern> {
  for (const part of rule.daemons) for (const { server } of part) if (server) yield server;
  for (const part of rule.clients) for (const { host } of part) yield host;
}

function readNetgroups(read: Read, paths: Set<string>): Netgroups {
  paths.add(NETGROUP);
  return parseNetgroups(textOf(read(NETGROUP, MAX_FILE_BYTES)));
}

function readAccounts(read: Read, paths: Set<string>): Accounts {
  paths.add(PASSWD).add(GROUP);
  return {
    users: namesOf(textOf(read(PASSWD, MAX_FILE_BYTES))),
    groups: namesOf(textOf(read(GROUP, MAX_FILE_BYTES))),
  };
}

function textOf(source: Source): string {
  return source.kind === "text" ? byteString(source.bytes, 0, source.bytes.length) : "";
}

function namesOf(text: string): Set<string> {
  return new Set(
    text
      .split("\n")
      .map((line) => line.split(":", 1)[0] ?? "")
      .filter((name) => name !== ""),
  );
}

function optionProblems({ file, rules }: Table, accounts: Accounts | undefined): Diagnostic[] {
  return rules.flatMap(({ line, options }) => {
    if (options === undefined) return [];
    return checkOptions(options, accounts).map((problem) => placeProblem(problem, file, line));
  });
}
