/** A parsed pair of tables with everything they name: the value that `decide` is asked against. */
import type { Diagnostic } from "./types.ts";
import type { ClientPattern, DaemonPattern, HostPattern } from "./pattern.ts";
import type { List } from "./list.ts";
import type { Netgroups } from "./netgroup.ts";

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

/** An access table. */
export interface Table {
  /** As it was named. */
  readonly file: string;
  readonly rules: readonly Rule[];
  /**
   * Why the table does not go on after its last rule: it could not be read, or has a line beyond all bounds.
   * What comes to this place is refused in hosts.deny, and goes on to hosts.deny in hosts.allow.
   */
  readonly broken?: Diagnostic;
}

/** The patterns of each `/file` by path. A path that is not there matches nothing. */
export type Lists = ReadonlyMap<string, readonly HostPattern[]>;

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
