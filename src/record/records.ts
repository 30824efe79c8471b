/** The records that tcpwrapd writes: one shape per event, as the JSON form prints it. docs/records.md lists the same fields. */
import type { Diagnostic, NameStatus, ProxyPeer, Severity } from "../access/types.ts";

/** How much a record matters, least first. The words are pino's, so that its own tools understand them. */
export const LEVELS = ["debug", "info", "warn", "error", "fatal"] as const;
export type Level = (typeof LEVELS)[number];

/** Why a client was refused: its rule; something broken on our side; a limit; the client left first; no verdict in time. */
export const REFUSE_REASONS = ["rule", "error", "limit", "aborted", "timeout"] as const;
export type RefuseReason = (typeof REFUSE_REASONS)[number];

/** How a connection that was served has ended. */
export const END_CAUSES = [
  "client_closed",
  "backend_closed",
  "client_reset",
  "backend_reset",
  "backend_refused",
  "backend_unreachable",
  "connect_timeout",
  "idle_timeout",
  "max_age",
  "drain",
  "kicked",
  "client_gone",
  "handed_over",
  "internal",
] as const;
export type EndCause = (typeof END_CAUSES)[number];

/** One side of a connection. A name that was asked for and not found is "unknown" or "paranoid"; one not asked for is absent. */
export interface Side {
  readonly address: string;
  readonly port?: number;
  readonly name?: string;
  /** How the search for the name ended; absent where nobody has searched. */
  readonly nameStatus?: NameStatus;
}

/** Where the rule that decided stands. */
export interface RulePlace {
  readonly file: string;
  readonly line: number;
}

/**
 * What every record about a connection carries. Absent fields may also be there as undefined: objects of one shape are
 * made and written faster, and neither JSON nor words show a difference.
 */
export interface ConnectionFields {
  readonly service: string;
  /** The process name that the tables match on. */
  readonly daemon: string;
  /** The same in every record of one connection; sorts by time of accept. */
  readonly id: string;
  readonly client: Side & {
    readonly user?: string;
    /** Names in the tables that lead to the address by themselves (`names.forward`). */
    readonly forwardNames?: readonly string[];
  };
  readonly server: Side;
  /** "udp" for a client of datagrams, whose address may be forged; absent for a connection. */
  readonly transport?: "udp" | undefined;
  /** The peer that announced the client by a PROXY header; absent where the client came by itself. */
  readonly proxy?: Pick<ProxyPeer, "address" | "port" | "tlvs"> | undefined;
}

export interface AcceptFields extends ConnectionFields {
  readonly event: "accept";
  /** Absent where no rule matched. */
  readonly rule?: RulePlace | undefined;
  /** As it is configured: host:port, unix:/path, or the program. */
  readonly backend: string;
  /** From accept to verdict. */
  readonly decisionMs: number;
  /** The generation of the tables that decided. */
  readonly generation?: number | undefined;
}

export interface RefuseFields extends ConnectionFields {
  readonly event: "refuse";
  readonly rule?: RulePlace | undefined;
  readonly reason: RefuseReason;
  /** What was wrong, for a reason that is no rule. */
  readonly detail?: string | undefined;
  readonly decisionMs: number;
  readonly generation?: number | undefined;
}

export interface TwistFields extends ConnectionFields {
  readonly event: "twist";
  readonly rule?: RulePlace | undefined;
  readonly command: string;
  readonly decisionMs: number;
  readonly generation?: number | undefined;
}

export interface EndFields extends ConnectionFields {
  readonly event: "end";
  /** Client to backend; null where the socket was handed over and nobody could count. */
  readonly upBytes: number | null;
  readonly downBytes: number | null;
  /** From accept to end, by the monotonic clock. */
  readonly durationMs: number;
  readonly cause: EndCause;
  /** The error behind the cause, where there was one. */
  readonly detail?: string | undefined;
}

export interface TablesFields {
  readonly event: "tables";
  readonly generation: number;
  readonly allow: { readonly rules: number };
  readonly deny: { readonly rules: number };
  /** The first of them; `diagnosticsTotal` says how many there are in all, where that is more. */
  readonly diagnostics: readonly Diagnostic[];
  readonly diagnosticsTotal?: number;
}

export interface LifeFields {
  readonly event: "ready" | "draining" | "stopped";
  /** What an administrator wants to see beside the event, such as the listeners or the sessions left. */
  readonly detail?: string | undefined;
}

export interface DiagnosticFields {
  readonly event: "diagnostic";
  /** The connection that met it, where there was one. */
  readonly service?: string | undefined;
  readonly id?: string | undefined;
  /** Stable and searchable, such as "log-sink-down". */
  readonly code: string;
  readonly message: string;
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  readonly hint?: string | undefined;
}

/** Lines that a sink could not deliver while its receiver was away or full. */
export interface LostFields {
  readonly event: "lost";
  readonly lines: number;
}

/** Refusals of one source that were counted and not written one by one. */
export interface SuppressedFields {
  readonly event: "suppressed";
  readonly service: string;
  readonly daemon: string;
  readonly client: { readonly address: string };
  readonly refusals: number;
  readonly periodMs: number;
}

export type Fields =
  | AcceptFields
  | RefuseFields
  | TwistFields
  | EndFields
  | TablesFields
  | LifeFields
  | DiagnosticFields
  | LostFields
  | SuppressedFields;

/** One record on its way to the sinks. */
export interface LogRecord {
  /** Milliseconds since the epoch. */
  readonly timeMs: number;
  readonly level: Level;
  /** What the rule's `severity` asks of syslog; absent = the level and the sink's own facility. */
  readonly severity?: Severity;
  /** The daemon that a text line is tagged with, such as "sshd"; our own name for records about ourselves. */
  readonly tag: string;
  readonly fields: Fields;
  /** Said in sentences only, because the JSON form has it inside another record. */
  readonly sentencesOnly?: true;
}
