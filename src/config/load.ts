/** Reads both access tables and every file that they name into one value to decide by. */
import type { Diagnostic, Source } from "../access/types.ts";
import type { Accounts, Tables } from "../access/tables.ts";
import { compileTable, type Visitor } from "../access/compile.ts";
import type { TableData } from "../access/table-data.ts";
import { compileList, type ListData } from "../access/compile-list.ts";
import { listOf, tableOf } from "../access/compiled.ts";
import { criticise, type Criticism } from "../access/criticise.ts";
import { checkOptions, placeProblem } from "../access/options.ts";
import { parseNetgroups, type Netgroups } from "../access/netgroup.ts";
import { byteString, fileName, readable, shorten } from "../access/text.ts";

/**
 * Reads at most `maxBytes` of a file, whose path is as `fileName` writes it; whatever is no plain file, or is longer, is "unreadable".
 * Never throws.
 */
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
  /** The NIS domain, for netgroups; absent = none is set. */
  readonly domain?: string | undefined;
  /** What a careful reader would say is said too, knowing this; absent = only what the language itself finds wrong. */
  readonly criticism?: Omit<Criticism, "allow" | "deny" | "lists" | "netgroups">;
}

/** The tables in force after a load, and what a reload must look at. */
export interface Loaded {
  readonly tables: Tables;
  /**
   * Every file that the tables depend on, the missing ones too: a change in one of them is a change of the tables. As
   * `fileName` writes them: they need not be UTF-8.
   */
  readonly paths: readonly string[];
  readonly allowRules: number;
  readonly denyRules: number;
  readonly diagnostics: readonly Diagnostic[];
  /** What was found at each path; with it the same tables can be made again (config/snapshot.ts). */
  readonly sources: ReadonlyMap<string, Source>;
}

/** Bytes in one file at most: a table or a `/file`. */
export const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Files inside files at most; tcpd goes on until it crashes (difference 8). */
export const MAX_NESTING = 16;

/** Errors, and warnings, on all files at most. */
const MAX_REMARKS = 1000;

/** Options texts that are remembered as harmless while a table is read. */
const MAX_CHECKED = 1000;

const NETGROUP = "/etc/netgroup";
const PASSWD = "/etc/passwd";
const GROUP = "/etc/group";

/** The flat form of what was loaded, as it moves between threads. */
export interface LoadedData {
  readonly allow: TableData;
  readonly deny: TableData;
  readonly lists: ReadonlyMap<string, LoadedList>;
  readonly netgroups: Netgroups;
  readonly accounts?: Accounts;
  readonly paths: readonly string[];
  readonly diagnostics: readonly Diagnostic[];
  readonly sources: ReadonlyMap<string, Source>;
}

/** A `/file` in flat form. */
export interface LoadedList {
  readonly data: ListData;
  readonly leftOut: ReadonlySet<string>;
}

/** Loads both tables. Bad input comes back as diagnostics; never throws, if `read` does not. */
export function loadTables(options: LoadOptions): Loaded {
  return loadedOf(loadData(options), options.noMatch);
}

/** The tables ready to decide by. Costs nothing that grows with them. */
export function loadedOf(data: LoadedData, noMatch: "allow" | "refuse"): Loaded {
  const { accounts, netgroups, paths, diagnostics, sources } = data;
  const lists = new Map([...data.lists].map(([path, list]) => [path, listOf(list.data, list.leftOut)]));
  const tables = { allow: tableOf(data.allow), deny: tableOf(data.deny), noMatch, lists, netgroups };
  return {
    tables: accounts === undefined ? tables : { ...tables, accounts },
    paths,
    allowRules: tables.allow.rules.length,
    denyRules: tables.deny.rules.length,
    diagnostics,
    sources,
  };
}

/** Reads and compiles both tables and all that they name. */
export function loadData({
  allow,
  deny,
  read: readSource,
  interfaces,
  domain,
  criticism,
}: Omit<LoadOptions, "noMatch">): LoadedData {
  const sources = new Map<string, Source>();
  const read: Read = (path, maxBytes) => {
    const source = readSource(path, maxBytes);
    sources.set(path, source);
    return source;
  };
  const remarks = new Remarks();
  const paths = new Set<string>([allow, deny]);
  const lists = new ListLoader(read, interfaces, paths, remarks);
  const names = new NamesLoader(read, paths, domain);
  const open = (file: string): TableData => {
    const checked = new Set<string>();
    const visitor: Visitor = {
      file: (path, line, column) => lists.need(path, placeOf(file, line, column)),
      netgroup: () => names.needNetgroups(),
      options: (text, line, column) => {
        // The same options stand behind thousands of rules; what was found harmless once is so again.
        if (checked.has(text)) return;
        const accounts = /user|group/i.test(text) ? names.needAccounts() : undefined;
        const problems = checkOptions(text, accounts);
        for (const problem of problems) remarks.add(placeProblem(problem, file, line, column));
        if (problems.length === 0 && checked.size < MAX_CHECKED) checked.add(text);
      },
    };
    const compiled = compileTable(file, read(file, MAX_FILE_BYTES), visitor, interfaces);
    for (const diagnostic of compiled.diagnostics) remarks.add(diagnostic);
    return compiled.data;
  };
  const tables = { allow: open(allow), deny: open(deny) };
  if (lists.hasNetgroups) names.needNetgroups();
  const { netgroups, accounts } = names;
  if (criticism !== undefined) {
    const listData = new Map(Array.from(lists.lists, ([path, { data }]) => [path, data]));
    for (const diagnostic of criticise({ ...criticism, ...tables, lists: listData, netgroups }))
      remarks.add(diagnostic);
  }
  const diagnostics = remarks.all;
  const data = { ...tables, lists: lists.lists, netgroups, paths: [...paths], diagnostics, sources };
  return accounts === undefined ? data : { ...data, accounts };
}

type Place = Pick<Diagnostic, "file" | "line" | "column">;

function placeOf(file: string, line: number, column: number | undefined): Place {
  return column === undefined ? { file, line } : { file, line, column };
}

/** Diagnostics, bounded: a broken table of a million lines must not fill the memory with them. */
class Remarks {
  readonly all: Diagnostic[] = [];
  private readonly counts = { error: 0, warning: 0 };

  /** Errors and warnings are counted apart: a thousand warnings must not hide an error. */
  add(diagnostic: Diagnostic): void {
    if (this.counts[diagnostic.severity]++ >= MAX_REMARKS) return;
    const { message, hint } = diagnostic;
    this.all.push({
      ...diagnostic,
      message: shorten(message),
      ...(hint !== undefined && { hint: shorten(hint) }),
    });
  }
}

/** Reads the system's files of names, if a rule needs them. */
class NamesLoader {
  netgroups: Netgroups = new Map();
  accounts: Accounts | undefined;
  private readonly read: Read;
  private readonly paths: Set<string>;
  private readonly domain: string | undefined;

  constructor(read: Read, paths: Set<string>, domain: string | undefined) {
    this.read = read;
    this.paths = paths;
    this.domain = domain;
  }

  needNetgroups(): void {
    if (!this.paths.has(NETGROUP)) this.netgroups = parseNetgroups(this.textOf(NETGROUP), this.domain);
  }

  needAccounts(): Accounts {
    this.accounts ??= { users: namesOf(this.textOf(PASSWD)), groups: namesOf(this.textOf(GROUP)) };
    return this.accounts;
  }

  private textOf(path: string): string {
    this.paths.add(path);
    const source = this.read(path, MAX_FILE_BYTES);
    return source.kind === "text" ? byteString(source.bytes, 0, source.bytes.length) : "";
  }
}

/** Reads the `/file` lists that rules name, and those that lists name. */
class ListLoader {
  readonly lists = new Map<string, LoadedList>();
  hasNetgroups = false;
  /** How many files deep each list goes, itself counted. */
  private readonly heights = new Map<string, number>();
  private readonly open = new Set<string>();
  private readonly read: Read;
  private readonly interfaces: ReadonlySet<string> | undefined;
  private readonly paths: Set<string>;
  private readonly remarks: Remarks;

  constructor(read: Read, interfaces: ReadonlySet<string> | undefined, paths: Set<string>, remarks: Remarks) {
    this.read = read;
    this.interfaces = interfaces;
    this.paths = paths;
    this.remarks = remarks;
  }

  /** Makes sure that the list at `path` is there; `place` names it. False where it may not be used at that place. */
  need(path: string, place: Place): boolean {
    if (this.open.has(path)) {
      const message = `"${readable(path)}" includes itself; it is left out here`;
      this.remarks.add({ ...place, severity: "error", code: "list-includes-itself", message });
      return false;
    }
    // One that is too deep is not read here, but may be where another rule names it.
    if (!this.heights.has(path) && this.open.size < MAX_NESTING) this.load(path, place);
    if (this.open.size + (this.heights.get(path) ?? MAX_NESTING) <= MAX_NESTING) return true;
    const message = `more than ${MAX_NESTING} files inside each other; "${readable(path)}" is left out here`;
    this.remarks.add({ ...place, severity: "error", code: "list-too-deep", message });
    return false;
  }

  private load(path: string, place: Place): void {
    const name = readable(path);
    const location = fileName(path);
    this.heights.set(path, 1);
    this.paths.add(location);
    const source = this.read(location, MAX_FILE_BYTES);
    if (source.kind !== "text") {
      const reason = source.kind === "unreadable" ? source.reason : REASONS[source.kind];
      const code = source.kind === "missing" ? "list-missing" : "list-unreadable";
      const message = `cannot open "${name}": ${reason}; it matches nothing`;
      this.remarks.add({ ...place, severity: "warning", code, message });
      return;
    }
    this.open.add(path);
    let height = 1;
    const leftOut = new Set<string>();
    const data = compileList(
      source.bytes,
      {
        file: (inner, line, column) => {
          if (this.need(inner, placeOf(name, line, column)))
            height = Math.max(height, 1 + (this.heights.get(inner) ?? 0));
          else leftOut.add(inner);
        },
        netgroup: () => {
          this.hasNetgroups = true;
        },
      },
      this.interfaces,
    );
    this.open.delete(path);
    this.heights.set(path, height);
    this.lists.set(path, { data, leftOut });
  }
}

const REASONS = { missing: "no such file", directory: "it is a directory" } as const;

function namesOf(text: string): Set<string> {
  const names = text.split("\n").map((line) => line.split(":", 1)[0] ?? "");
  return new Set(names.filter((name) => name !== ""));
}
