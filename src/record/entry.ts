/** The journal entry of one connection: one record when it is decided, one when it ends, whatever happens between. */
import type { Diagnostic, Endpoint, Request, RuleReference, Severity, Verdict } from "../access/types.ts";
import type { Counters } from "./counters.ts";
import type {
  AcceptFields,
  ConnectionFields,
  EndCause,
  EndFields,
  Level,
  RefuseFields,
  RefuseReason,
  RulePlace,
  Side,
  TwistFields,
} from "./records.ts";

/** What an entry needs of its journal. */
export interface EntryHost {
  readonly monotonic: () => number;
  countersOf(service: string): Counters;
  /**
   * @param diagnostics what was wrong on the way to the decision
   * @returns false where a flood of the like is summed up, and this one only counted
   */
  write(
    level: Level,
    fields: DecisionFields | EndFields,
    severity: Severity | undefined,
    diagnostics: readonly Diagnostic[],
  ): boolean;
  forget(entry: Entry): void;
}

/** The record of a decision. */
export type DecisionFields = AcceptFields | RefuseFields | TwistFields;

/** Bytes moved so far. */
export interface Traffic {
  readonly upBytes: number;
  readonly downBytes: number;
}

/** One connection as `sessions` shows it. */
export interface OpenSession extends ConnectionFields {
  readonly state: "deciding" | "accepted" | "twisted";
  readonly acceptedAt: string;
  readonly ageMs: number;
  readonly rule?: RulePlace | undefined;
  /** Where it leads; absent while it is undecided. */
  readonly backend?: string | undefined;
  /** Our end of the connection to the backend, which takes it for its client; absent where there is none, or it has no port. */
  readonly backendFrom?: { readonly address: string; readonly port: number };
  /** Absent where nobody counts. */
  readonly traffic?: Traffic | undefined;
}

const NO_DIAGNOSTICS: readonly Diagnostic[] = [];

/** What was decided, and on what it rests. */
interface Decided {
  readonly request: Request;
  readonly verdict: Verdict;
  /** Of the tables that decided. */
  readonly generation?: number | undefined;
}

/**
 * One connection's entry. It moves from deciding to served to over, and each step writes its record once: a call that
 * comes too late, or a second time, does nothing. A refusal is decision and end in one, so it has one record only.
 *
 * No call throws or waits.
 */
export class Entry {
  readonly id: string;
  readonly service: string;
  readonly daemon: string;
  readonly #host: EntryHost;
  readonly #counters: Counters;
  readonly #openedAtMs: number;
  readonly #acceptedAtMs: number;
  readonly #transport: ConnectionFields["transport"];
  #client: ConnectionFields["client"];
  #server: Side;
  #proxy: ConnectionFields["proxy"];
  #state: "deciding" | "accepted" | "twisted" | "over" = "deciding";
  #isCheck = false;
  #rule: RulePlace | undefined;
  #backend: string | undefined;
  #severity: Severity | undefined;
  #traffic: (() => Traffic) | undefined;

  constructor(
    host: EntryHost,
    about: {
      readonly service: string;
      readonly daemon: string;
      readonly client: Endpoint;
      readonly server: Endpoint;
      readonly transport?: ConnectionFields["transport"];
    },
    id: string,
    timeMs: number,
  ) {
    this.#host = host;
    this.id = id;
    this.service = about.service;
    this.daemon = about.daemon;
    this.#client = about.client;
    this.#server = about.server;
    this.#transport = about.transport;
    this.#acceptedAtMs = timeMs;
    this.#openedAtMs = host.monotonic();
    this.#counters = host.countersOf(about.service);
    this.#counters.open++;
  }

  /** Tells what has been found out about the two sides meanwhile; decisions do it by themselves. */
  learn(request: Request): void {
    const { client, server, user, proxy } = request;
    this.#client = user === undefined ? client : { ...client, user };
    this.#server = server;
    this.#proxy = proxy;
  }

  /**
   * This is a health check, not a client: if it is let in, its records have level debug and only `checks` counts it; but the end
   * of one that has sent anything is told.
   * A refusal is told as any other: whoever set up the check wants to know. To be said before the decision.
   */
  markAsCheck(): void {
    this.#isCheck = true;
  }

  /**
   * The client may come in.
   *
   * @param decided.backend as it is configured
   * @param decided.traffic tells the bytes moved so far, for `sessions`
   */
  accepted(decided: Decided & { readonly backend: string; readonly traffic?: () => Traffic }): void {
    if (this.#state !== "deciding") return;
    this.#decide("accepted", decided);
    this.#backend = decided.backend;
    this.#traffic = decided.traffic;
    if (this.#isCheck) this.#counters.checks++;
    else this.#counters.accepted++;
    this.#write(
      this.#isCheck ? "debug" : "info",
      {
        event: "accept",
        service: this.service,
        daemon: this.daemon,
        id: this.id,
        client: this.#client,
        server: this.#server,
        transport: this.#transport,
        proxy: this.#proxy,
        rule: this.#rule,
        backend: decided.backend,
        decisionMs: this.#decisionMs(),
        generation: decided.generation,
      },
      decided.verdict.diagnostics,
    );
  }

  /**
   * The client is sent away. Without a verdict (limits, errors, a client that has gone) the request may be missing too.
   *
   * @param why.reason absent = as the verdict says: "rule", or "error" where the rule or its table is broken
   * @param why.detail what was wrong; from outside or from an error, it is escaped
   * @returns whether it has a record of its own: false where it only counts in the summary of a flood
   */
  refused(
    why: Partial<Decided> & { readonly reason?: RefuseReason; readonly detail?: string | undefined },
  ): boolean {
    if (this.#state !== "deciding") return false;
    const reason =
      why.reason ?? (why.verdict !== undefined && why.verdict.reason !== "error" ? "rule" : "error");
    this.#decide("over", why);
    this.#counters.refused[reason]++;
    const isWritten = this.#write(
      "warn",
      {
        event: "refuse",
        service: this.service,
        daemon: this.daemon,
        id: this.id,
        client: this.#client,
        server: this.#server,
        transport: this.#transport,
        proxy: this.#proxy,
        rule: this.#rule,
        reason,
        detail: why.detail,
        decisionMs: this.#decisionMs(),
        generation: why.generation,
      },
      why.verdict?.diagnostics,
    );
    this.#leave();
    return isWritten;
  }

  /** A command serves the client; its end is told by `ended`. */
  twisted(decided: Decided & { readonly command: string; readonly traffic?: () => Traffic }): void {
    if (this.#state !== "deciding") return;
    this.#isCheck = false; // a command runs: no matter for whom, that is told
    this.#decide("twisted", decided);
    this.#backend = decided.command;
    this.#traffic = decided.traffic;
    this.#counters.twisted++;
    this.#write(
      "warn",
      {
        event: "twist",
        ...this.#connection(),
        rule: this.#rule,
        command: decided.command,
        decisionMs: this.#decisionMs(),
        generation: decided.generation,
      },
      decided.verdict.diagnostics,
    );
  }

  /**
   * A connection that was served is over. Before any decision it counts as a refusal, so that none goes without a trace.
   *
   * @param how.upBytes null, as downBytes, where the socket was handed over and nobody could count
   */
  ended(how: {
    readonly upBytes: number | null;
    readonly downBytes: number | null;
    readonly cause: EndCause;
    readonly detail?: string | undefined;
  }): void {
    if (this.#state === "over") return;
    if (this.#state === "deciding") {
      this.refused({
        reason: how.cause === "client_gone" ? "aborted" : "error",
        detail: how.detail ?? `ended before a verdict: ${how.cause}`,
      });
      return;
    }
    this.#state = "over";
    if (!this.#isCheck) {
      this.#counters.ended[how.cause]++;
      this.#counters.upBytes += how.upBytes ?? 0;
      this.#counters.downBytes += how.downBytes ?? 0;
    }
    // Whoever says something is no check, whatever the proxy has called it.
    const isQuiet = this.#isCheck && (how.upBytes ?? 0) === 0;
    this.#write(isQuiet ? "debug" : "info", {
      event: "end",
      service: this.service,
      daemon: this.daemon,
      id: this.id,
      client: this.#client,
      server: this.#server,
      transport: this.#transport,
      proxy: this.#proxy,
      upBytes: how.upBytes,
      downBytes: how.downBytes,
      durationMs: round(this.ageMs),
      cause: how.cause,
      detail: how.detail,
    });
    this.#leave();
  }

  /** Something threw: refuses if undecided, ends with "internal" otherwise. */
  failed(error: unknown): void {
    const detail = error instanceof Error ? error.message : String(error);
    if (this.#state === "deciding") this.refused({ reason: "error", detail });
    else this.ended({ ...this.#lastTraffic(), cause: "internal", detail });
  }

  /** Closes the entry; what has not been told by now is told as a failure of ours. For the `finally` of a connection. */
  close(): void {
    if (this.#state !== "over") this.failed("closed without an outcome");
  }

  /** Milliseconds since the client came. */
  get ageMs(): number {
    return this.#host.monotonic() - this.#openedAtMs;
  }

  /** The connection as `sessions` shows it. */
  session(): OpenSession {
    return {
      ...this.#connection(),
      state: this.#state === "over" ? "deciding" : this.#state,
      acceptedAt: new Date(this.#acceptedAtMs).toISOString(),
      ageMs: Math.round(this.ageMs),
      rule: this.#rule,
      backend: this.#backend,
      traffic: this.#traffic?.(),
    };
  }

  #decide(state: "accepted" | "twisted" | "over", decided: Partial<Decided>): void {
    this.#state = state;
    if (decided.request !== undefined) this.learn(decided.request);
    if (decided.verdict === undefined) return;
    this.#rule = place(decided.verdict.rule);
    this.#severity = decided.verdict.severity;
  }

  /** For records that come seldom; those of every connection name each field, since V8 takes a slow way for a spread. */
  #connection(): ConnectionFields {
    return {
      service: this.service,
      daemon: this.daemon,
      id: this.id,
      client: this.#client,
      server: this.#server,
      transport: this.#transport,
      proxy: this.#proxy,
    };
  }

  #decisionMs(): number {
    const ms = this.ageMs;
    if (!this.#isCheck) this.#counters.decisionMs += ms;
    return round(ms);
  }

  #lastTraffic(): { upBytes: number | null; downBytes: number | null } {
    return this.#traffic?.() ?? { upBytes: null, downBytes: null };
  }

  #write(
    level: Level,
    fields: DecisionFields | EndFields,
    diagnostics: readonly Diagnostic[] = NO_DIAGNOSTICS,
  ): boolean {
    return this.#host.write(level, fields, this.#severity, diagnostics);
  }

  #leave(): void {
    this.#counters.open--;
    this.#traffic = undefined;
    this.#host.forget(this);
  }
}

function place(rule: RuleReference | undefined): RulePlace | undefined {
  return rule === undefined ? undefined : { file: rule.file, line: rule.line };
}

/** Milliseconds to the microsecond. */
function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
