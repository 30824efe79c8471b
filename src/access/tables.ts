/** A parsed pair of tables with everything they name: the value that `decide` is asked against. */
import type { Diagnostic } from "./types.ts";
import type { ClientPattern, DaemonPattern, HostPattern } from "./pattern.ts";
import type { List } from "./list.ts";
import type { ParsedOption } from "./option-text.ts";
import type { Netgroups } from "./netgroup.ts";
import type { ListIndex, TableIndex } from "./compiled.ts";

/** A rule that has matched: what is left to say and to do. */
export interface MatchedRule {
  /** Its last physical line, counted from 1. */
  readonly line: number;
  /** What stands after the second colon; absent where there is none. */
  readonly options?: readonly ParsedOption[];
}

/** One rule of a table. Its options stay text until it matches, as tcpd has it: a broken one elsewhere is harmless. */
export interface Rule {
  /** Its last physical line, counted from 1. */
  readonly line: number;
  /** As written, continuation lines joined; a string of bytes. */
  readonly text: string;
  readonly daemons: List<DaemonPattern>;
  readonly clients: List<ClientPattern>;
  /** What stands after the second colon; absent where there is none. */
  readonly options?: string;
}

/** The rules of a table, in file order; each is read from the text of the table when it is asked for. */
export interface Rules extends Iterable<Rule> {
  readonly length: number;
  at(index: number): Rule | undefined;
  /** The same rule without its lists and its text, which costs next to nothing. */
  matched(index: number): MatchedRule | undefined;
  /** As written, continuation lines joined. */
  text(index: number): string | undefined;
}

/** An access table. */
export interface Table {
  /** As it was named. */
  readonly file: string;
  readonly rules: Rules;
  /** Finds the first rule that matches without asking them all; absent = they are asked one by one. */
  readonly index?: TableIndex;
  /**
   * Why the table does not go on after its last rule: it could not be read, or has a line beyond all bounds.
   * What comes to this place is refused in hosts.deny, and goes on to hosts.deny in hosts.allow.
   */
  readonly broken?: Diagnostic;
}

/** A `/file`: its words, as host patterns. */
export interface HostList {
  readonly patterns: { readonly length: number; at(index: number): HostPattern | undefined };
  /** Finds the first word that matches; absent = they are asked one by one. */
  readonly index?: ListIndex;
  /** Files that may not be used from here, as they would go round in a circle or too deep. */
  readonly leftOut: ReadonlySet<string>;
}

/** The patterns of each `/file` by path. A path that is not there matches nothing. */
export type Lists = ReadonlyMap<string, HostList>;

/** Both tables and what they name, read at one moment. */
export interface Tables {
  readonly allow: Table;
  readonly deny: Table;
  /** What holds where no rule matches; tcpd allows. */
  readonly noMatch: "allow" | "refuse";
  readonly lists: Lists;
  readonly netgroups: Netgroups;
  /** Names that the options `user` and `group` may use; absent = not known, any name passes. */
  readonly accounts?: Accounts;
}

/** The names in passwd(5) and group(5). */
export interface Accounts {
  readonly users: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
}
