/** Compiled tables and lists, ready to be asked. */
import type { HostList, MatchedRule, Rule, Rules, Table } from "./tables.ts";
import { hasInterfaceOf, matchedAt, NO_GROUP, parseDaemons, ruleAt, textAt } from "./table-data.ts";
import type { TableData } from "./table-data.ts";
import { endOfText, type ListData } from "./compile-list.ts";
import type { HostIndex } from "./host-index.ts";
import { parseHost, type DaemonPattern, type HostPattern } from "./pattern.ts";
import type { List } from "./list.ts";
import { parseOptions } from "./option-text.ts";
import { byteString } from "./text.ts";

/** The groups of rules that count for one daemon. */
export interface Groups {
  readonly numbers: readonly number[];
  /** The same, as a 1 for each. */
  readonly flags: Uint8Array;
}

/** Daemons whose groups are remembered; a machine has a handful of services. */
const MAX_REMEMBERED = 64;

/** Matched rules with options that are kept as they were read; few ever match. */
const MAX_WITH_OPTIONS = 1024;

/** The index of a table, and what it has learnt while it was asked. */
export class TableIndex {
  readonly hosts: HostIndex;
  /** Rules that are to be asked one by one, ascending. */
  readonly scanned: Uint32Array;
  private readonly scannedGroups: Uint32Array;
  private readonly rules: Rules;
  private readonly daemons: readonly List<DaemonPattern>[];
  private readonly remembered: (Groups & { readonly daemon: string; readonly port: number | undefined })[] =
    [];
  private readonly scannedRules: Rule[] = [];

  constructor(data: TableData, rules: Rules) {
    this.hosts = data.hosts;
    this.scanned = data.scanned;
    this.scannedGroups = data.scannedGroups;
    this.rules = rules;
    this.daemons = data.groups.map((text) => parseDaemons(text, hasInterfaceOf(data.interfaces)));
  }

  /** The groups that count for a daemon at a port; undefined where nobody has asked yet. */
  groupsOf(daemon: string, port: number | undefined): Groups | undefined {
    for (const known of this.remembered) if (known.daemon === daemon && known.port === port) return known;
    return undefined;
  }

  /** Finds out which groups count. `matches` asks a daemon list, which needs no fact. */
  openGroups(
    daemon: string,
    port: number | undefined,
    matches: (list: List<DaemonPattern>) => boolean,
  ): Groups {
    const numbers = [...this.daemons.keys()].filter((group) => matches(this.daemons[group] ?? []));
    const flags = new Uint8Array(this.daemons.length);
    for (const group of numbers) flags[group] = 1;
    const groups = { daemon, port, numbers, flags };
    if (this.remembered.length >= MAX_REMEMBERED) this.remembered.length = 0;
    this.remembered.push(groups);
    return groups;
  }

  /** Whether the daemon list of the rule at a place of `scanned` is settled by its group. */
  isGrouped(place: number): boolean {
    return this.scannedGroups[place] !== NO_GROUP;
  }

  /** The rule at a place of `scanned`; undefined where its group does not count. Read once, then kept. */
  scannedRule(place: number, groups: Groups): Rule | undefined {
    const group = this.scannedGroups[place] ?? NO_GROUP;
    if (group !== NO_GROUP && groups.flags[group] !== 1) return undefined;
    const known = this.scannedRules[place];
    if (known !== undefined) return known;
    const rule = this.rules.at(this.scanned[place] ?? -1);
    if (rule !== undefined) this.scannedRules[place] = rule;
    return rule;
  }
}

/** The index of a `/file`. */
export class ListIndex {
  readonly hosts: HostIndex;
  readonly scanned: Uint32Array;
  private readonly patterns: HostList["patterns"];
  private readonly scannedPatterns: HostPattern[] = [];

  constructor(data: ListData, patterns: HostList["patterns"]) {
    this.hosts = data.hosts;
    this.scanned = data.scanned;
    this.patterns = patterns;
  }

  /** The word at a place of `scanned`. Read once, then kept. */
  scannedPattern(place: number): HostPattern | undefined {
    const known = this.scannedPatterns[place];
    if (known !== undefined) return known;
    const pattern = this.patterns.at(this.scanned[place] ?? -1);
    if (pattern !== undefined) this.scannedPatterns[place] = pattern;
    return pattern;
  }
}

/** The one group of a list. */
export const ONE_GROUP: Groups = { numbers: [0], flags: Uint8Array.of(1) };

/** A compiled table as `decide` takes it. Costs nothing that grows with the table. */
export function tableOf(data: TableData): Table {
  const rules = new CompiledRules(data);
  const table = { file: data.file, rules, index: new TableIndex(data, rules) };
  return data.broken === undefined ? table : { ...table, broken: data.broken };
}

/** A compiled `/file` as `decide` takes it. */
export function listOf(data: ListData, leftOut: ReadonlySet<string>): HostList {
  const { bytes, starts } = data;
  const hasInterface = hasInterfaceOf(data.interfaces);
  const patterns = {
    length: starts.length,
    at(index: number): HostPattern | undefined {
      const start = starts[index];
      if (start === undefined) return undefined;
      return parseHost(byteString(bytes, start, endOfText(bytes, start)), hasInterface);
    },
  };
  return { patterns, index: new ListIndex(data, patterns), leftOut };
}

class CompiledRules implements Rules {
  readonly length: number;
  private readonly data: TableData;
  private readonly withOptions = new Map<number, MatchedRule>();

  constructor(data: TableData) {
    this.data = data;
    this.length = data.places.length / 2;
  }

  at(index: number): Rule | undefined {
    return ruleAt(this.data, index);
  }

  matched(index: number): MatchedRule | undefined {
    const known = this.withOptions.get(index);
    if (known !== undefined) return known;
    const found = matchedAt(this.data, index);
    if (found?.options === undefined) return found && { line: found.line };
    const rule = { line: found.line, options: parseOptions(found.options) };
    if (this.withOptions.size >= MAX_WITH_OPTIONS) this.withOptions.clear();
    this.withOptions.set(index, rule);
    return rule;
  }

  text(index: number): string | undefined {
    return textAt(this.data, index);
  }

  *[Symbol.iterator](): Generator<Rule> {
    for (let index = 0; index < this.length; index++) {
      const rule = this.at(index);
      if (rule !== undefined) yield rule;
    }
  }
}
