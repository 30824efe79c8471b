/** The values the access language is made of: what is known of a connection, and what the tables say about it. */

/**
 * One side of a connection. Three states of a name are three things: absent = nobody has asked yet;
 * "unknown" = asked, and there is none; "paranoid" = there is one, but it does not lead back to the address.
 */
export interface Endpoint {
  /** Canonical numeric text (IPv4-mapped text is kept as the socket gave it); "unknown" when the socket could not tell. */
  readonly address: string;
  readonly name?: string;
  /** How the search for the name ended: for the record only, no rule sees it. Absent where nobody has searched. */
  readonly nameStatus?: NameStatus;
  /**
   * Names in the tables whose own addresses hold this one, in lower case (`names.forward`): a host name pattern that is one of
   * them matches without a look-up. Absent = the setting is off, or there are none.
   */
  readonly forwardNames?: readonly string[];
  /** Absent where the socket could not tell. */
  readonly port?: number;
}

/**
 * How the search for a name ended. "ok": it leads back to the address; "paranoid": it does not; "nxdomain": DNS says there
 * is none; the others say why DNS could not tell. A name that could not be checked in time is "paranoid" with "timeout".
 */
export type NameStatus = "ok" | "nxdomain" | "timeout" | "servfail" | "refused" | "paranoid" | "error";

/** The peer that announced a client by a PROXY header, and what else it said. */
export interface ProxyPeer extends Endpoint {
  /** The extensions of the header (TLVs), printable. */
  readonly tlvs?: readonly { readonly name: string; readonly value: string }[];
}

/** What is known about one connection when the tables are asked. */
export interface Request {
  /** The process name that the tables match on, such as "sshd". */
  readonly daemon: string;
  readonly client: Endpoint;
  /** The local address that the client reached. */
  readonly server: Endpoint;
  /** The client's user by RFC 1413; absent = not asked, "unknown" = asked and not available. */
  readonly user?: string;
  /** Expands %p; absent reads as 0. */
  readonly processId?: number;
  /** The peer that announced the client by a PROXY header; for the record only, no rule sees it. */
  readonly proxy?: ProxyPeer;
  /**
   * Which of its facts the options of the deciding rule have asked for (`isLate` of the fact): in the options before the one that
   * asked, nobody knows them. Absent = none.
   */
  readonly late?: readonly LateFact[];
  /** How the `aclexec` commands asked for so far have ended, in the order in which they were asked for. */
  readonly commands?: readonly CommandOutcome[];
}

/** "succeeded" is exit status 0; everything else (status, signal, time limit, no shell) is "failed". */
export type CommandOutcome = "succeeded" | "failed";

/** A fact that a decision needs before it can go on. The caller finds it, adds it to the request, and asks again. */
export type Fact =
  /** `isLate`: the options of a rule ask, so whoever adds the fact notes it in `Request.late`. */
  | { readonly kind: "clientName"; readonly isLate?: true }
  | { readonly kind: "serverName"; readonly isLate?: true }
  /** `withinMs`: the limit set by `rfc931 N`; absent = the configured one. */
  | { readonly kind: "user"; readonly withinMs?: number; readonly isLate?: true }
  /** Adds one more outcome to `Request.commands`. */
  | { readonly kind: "aclexec"; readonly command: Command };

/** A fact that the options of a rule may be the first to ask for. */
export type LateFact = "clientName" | "serverName" | "user";

/** A shell command as a rule asks for it: expanded, and with what the options before it have set. */
export interface Command {
  /** For `/bin/sh -c`; every %-expansion in it is already harmless to a shell. */
  readonly line: string;
  /** What `setenv` has added so far. */
  readonly environment: Readonly<Record<string, string>>;
  readonly umask?: number;
  readonly nice?: number;
  readonly user?: string;
  readonly group?: string;
}

/** The place of a rule: the file as it was named, and the last physical line of the rule, counted from 1. */
export interface RuleReference {
  readonly file: string;
  readonly line: number;
  /** Its number in the table, counted from 0; `ruleText` gives what was written there. */
  readonly index: number;
}

/** A side effect that a rule asks for, in the order of its options. `access/` only names it; `act/` does it. */
export type Effect =
  | { readonly kind: "spawn"; readonly command: Command }
  /**
   * Bytes for the client: one file, read and expanded by the caller with `expand`. `directory`: as `fileName` writes it; `late`: as
   * `Request.late` at the place of the option.
   */
  | { readonly kind: "banners"; readonly directory: string; readonly late?: readonly LateFact[] }
  | { readonly kind: "keepalive" }
  /** After the end, unsent bytes get so many seconds, then a reset; 0 resets at once. */
  | { readonly kind: "linger"; readonly seconds: number };

/** Syslog facility and level that a rule's `severity` asks for; facility absent = the daemon's own. */
export interface Severity {
  readonly facility?: string;
  readonly level: string;
}

interface Outcome {
  /** The rule that decided; absent where none matched, or where a table could not be read. */
  readonly rule?: RuleReference;
  /** "rule": a rule said so; "no_match": none matched; "error": the rule or the table is broken, so we refuse. */
  readonly reason: "rule" | "no_match" | "error";
  readonly effects: readonly Effect[];
  readonly severity?: Severity;
  /** What was wrong on the way to this verdict, for the log. */
  readonly diagnostics: readonly Diagnostic[];
}

/** The result of asking the tables. Nothing but "allow" ever opens a backend connection. */
export type Verdict =
  | ({ readonly kind: "allow" } & Outcome)
  | ({ readonly kind: "refuse" } & Outcome)
  | ({ readonly kind: "twist"; readonly command: Command } & Outcome);

/** A verdict, or the fact that is needed first. */
export type Step = Verdict | { readonly kind: "need"; readonly fact: Fact };

/** Something wrong with a table, and where. `code` is stable and documented in docs/diagnostics.md. */
export interface Diagnostic {
  readonly file: string;
  /** Counted from 1; 0 where the whole file is meant. */
  readonly line: number;
  /** Counted from 1; absent where the whole line is meant. */
  readonly column?: number;
  readonly severity: "error" | "warning";
  readonly code: string;
  /** What is wrong, offending text in double quotes; lower case, no final stop. */
  readonly message: string;
  /** The text to write instead, or what to do. */
  readonly hint?: string;
}

/**
 * What a reader of files found at one path.
 * "missing" and "directory" read as an empty table; "unreadable" does not: a deny table that cannot be read refuses everyone.
 */
export type Source =
  | { readonly kind: "text"; readonly bytes: Uint8Array }
  | { readonly kind: "missing" }
  | { readonly kind: "directory" }
  | { readonly kind: "unreadable"; readonly reason: string };
