/** The journal: opens an entry for every connection, hands its records to the sinks, and keeps count. */
import type { Diagnostic, Endpoint, Severity } from "../access/types.ts";
import type { Counters } from "./counters.ts";
import { createCounters } from "./counters.ts";
import type { DecisionFields, EntryHost, OpenSession } from "./entry.ts";
import { Entry } from "./entry.ts";
import { idSource } from "./ids.ts";
import type { FloodSettings } from "./flood.ts";
import { Flood } from "./flood.ts";
import type { DiagnosticFields, EndFields, Fields, Level, LogRecord } from "./records.ts";
import type { Sink, SinkState } from "./sink.ts";

/** More of them than this are cut from one `tables` record; they are counted all the same. */
const MAX_DIAGNOSTICS = 100;

/** How much a level matters. */
const RANK: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3, fatal: 4 };

/** The tag of records about ourselves. */
const OWN_TAG = "tcpwrapd";

export interface JournalOptions {
  readonly sinks: readonly Sink[];
  /** Records below it are not written; a rule's `severity` does not count here. Absent = "info". */
  readonly level?: Level;
  /** Milliseconds since the epoch; absent = the system's clock. */
  readonly now?: () => number;
  /** Milliseconds that never jump, for durations; absent = the system's. */
  readonly monotonic?: () => number;
  /** Absent = every refusal is written in full, whatever comes. */
  readonly flood?: FloodSettings;
  /** Tells the processes of one machine apart in ids, 0 to 2^20 - 1; absent = random. */
  readonly instance?: number;
}

/** The tables that are in force from now on, or that were not taken. */
export interface TablesNews {
  readonly generation: number;
  readonly allowRules: number;
  readonly denyRules: number;
  readonly diagnostics: readonly Diagnostic[];
}

/** Trouble of the daemon itself. `code` is stable and searchable. */
export type Trouble = Omit<DiagnosticFields, "event">;

/**
 * Writes records and never fails: a sink that is away, full or broken loses lines and says how many; nothing else happens.
 *
 * It lives as long as the daemon. `close` delivers what it can within its limit.
 */
export class Journal {
  readonly #sinks: readonly Sink[];
  readonly #threshold: number;
  readonly #now: () => number;
  readonly #nextId: () => string;
  readonly #counters = new Map<string, Counters>();
  readonly #open = new Set<Entry>();
  readonly #host: EntryHost;
  readonly #flood: Flood | undefined;

  constructor(options: JournalOptions) {
    this.#sinks = options.sinks;
    this.#threshold = RANK[options.level ?? "info"];
    this.#now = options.now ?? Date.now;
    this.#nextId = idSource(this.#now, options.instance);
    this.#host = {
      monotonic: options.monotonic ?? (() => performance.now()),
      countersOf: (service) => this.#countersOf(service),
      write: (level, fields, severity, diagnostics) =>
        this.#writeConnection(level, fields, severity, diagnostics),
      forget: (entry) => this.#open.delete(entry),
    };
    this.#flood =
      options.flood && new Flood(options.flood, (fields) => this.#write("warn", fields.daemon, fields));
    for (const sink of this.#sinks) this.#hear(sink);
  }

  /** Opens the entry of one connection. It must be closed, whatever happens: `finally { entry.close(); }`. */
  open(about: {
    readonly service: string;
    readonly daemon: string;
    readonly client: Endpoint;
    readonly server: Endpoint;
    /** Absent = a connection. */
    readonly transport?: "udp";
  }): Entry {
    const entry = new Entry(this.#host, about, this.#nextId(), this.#now());
    this.#open.add(entry);
    return entry;
  }

  /** New tables are in force, or could not be taken; one record, and one line of text for each diagnostic. */
  tables({ generation, allowRules, denyRules, diagnostics }: TablesNews): void {
    const broken = diagnostics.some((found) => found.severity === "error");
    this.#write(broken ? "error" : "info", OWN_TAG, {
      event: "tables",
      generation,
      allow: { rules: allowRules },
      deny: { rules: denyRules },
      diagnostics: diagnostics.slice(0, MAX_DIAGNOSTICS),
      ...(diagnostics.length > MAX_DIAGNOSTICS ? { diagnosticsTotal: diagnostics.length } : undefined),
    });
    for (const found of diagnostics.slice(0, MAX_DIAGNOSTICS)) {
      this.#send({ ...this.#stamp(levelOf(found), OWN_TAG, diagnosticFields(found)), sentencesOnly: true });
    }
  }

  /** Every listener is bound and the first tables are in force. */
  ready(detail?: string): void {
    this.#life("ready", detail);
  }

  /** No more connections are accepted; those that are open go on. */
  draining(detail?: string): void {
    this.#life("draining", detail);
  }

  /** The last record of a run; close the journal after it. */
  stopped(detail?: string): void {
    this.#flood?.flush();
    this.#life("stopped", detail);
  }

  /** Writes trouble of the daemon's own, at the level given. */
  diagnose(level: Level, trouble: Trouble): void {
    // Picked one by one: whatever else the caller's value carries is no field of a record.
    const { service, id, code, message, file, line, column, hint } = trouble;
    const event = "diagnostic";
    this.#write(level, OWN_TAG, { event, service, id, code, message, file, line, column, hint });
  }

  /** Something is not as it should be, and work goes on. */
  warn(trouble: Trouble): void {
    this.diagnose("warn", trouble);
  }

  /** What has happened so far, by name of service; live objects, not to be changed. */
  counters(): ReadonlyMap<string, Readonly<Counters>> {
    return this.#counters;
  }

  /** The connections that are open now, oldest first. */
  sessions(): OpenSession[] {
    return Array.from(this.#open, (entry) => entry.session());
  }

  /** How many connections are open now, undecided ones too. */
  get openCount(): number {
    return this.#open.size;
  }

  /** How the sinks stand. */
  sinks(): SinkState[] {
    return this.#sinks.map((sink) => sink.state());
  }

  /** Whether a connection has to wait for `audited`. */
  get hasAudit(): boolean {
    return this.#sinks.some((sink) => sink.isAudit === true);
  }

  /**
   * Waits until every audit sink has what was written so far; for a connection that must not go on without a trace.
   *
   * @returns false where a record did not get out, or not before the signal; true at once where no sink is one for audit
   */
  async audited(signal: AbortSignal): Promise<boolean> {
    const audits = this.#sinks.filter((sink) => sink.isAudit === true);
    if (audits.length === 0) return true;
    const late = new Promise<boolean>((resolve) => {
      if (signal.aborted) resolve(false);
      else signal.addEventListener("abort", () => resolve(false), { once: true });
    });
    const all = Promise.all(audits.map(async (sink) => (await sink.delivered?.()) ?? true));
    return await Promise.race([all.then((delivered) => delivered.every(Boolean)), late]);
  }

  /** Delivers what is queued, as far as that goes within the limit. Never rejects. */
  async close(withinMs: number): Promise<void> {
    this.#flood?.flush();
    await Promise.allSettled(this.#sinks.map((sink) => sink.close(withinMs)));
  }

  /** A sink in trouble is told of on the others, once when it begins and once when it is over. */
  #hear(sink: Sink): void {
    sink.onTrouble = (reason) => {
      this.#tell(sink, "error", {
        code: "log-sink-down",
        message: `${sink.name} takes no records: ${reason}`,
      });
    };
    sink.onReturn = (lostLines) => {
      this.#tell(sink, "info", {
        code: "log-sink-up",
        message: `${sink.name} takes records again, lost ${lostLines} lines`,
      });
    };
  }

  #tell(about: Sink, level: Level, trouble: Trouble): void {
    const record = this.#stamp(level, OWN_TAG, { event: "diagnostic", ...trouble });
    for (const sink of this.#sinks) if (sink !== about) sink.write(record);
  }

  #life(event: "ready" | "draining" | "stopped", detail: string | undefined): void {
    this.#write("info", OWN_TAG, { event, ...(detail === undefined ? undefined : { detail }) });
  }

  /** A decision or an end, after what was wrong on the way to it; false where it is left to the summary of a flood. */
  #writeConnection(
    level: Level,
    fields: DecisionFields | EndFields,
    severity: Severity | undefined,
    diagnostics: readonly Diagnostic[],
  ): boolean {
    if (fields.event === "refuse" && this.#flood?.admits(fields) === false) return false;
    for (const found of diagnostics) {
      this.#write(levelOf(found), fields.daemon, diagnosticFields(found, fields));
    }
    this.#write(level, fields.daemon, fields, severity);
    return true;
  }

  #write(level: Level, tag: string, fields: Fields, severity?: Severity): void {
    this.#send(this.#stamp(level, tag, fields, severity));
  }

  #send(record: LogRecord): void {
    if (RANK[record.level] < this.#threshold) return;
    for (const sink of this.#sinks) sink.write(record);
  }

  #stamp(level: Level, tag: string, fields: Fields, severity?: Severity): LogRecord {
    const timeMs = this.#now();
    return severity === undefined ? { timeMs, level, tag, fields } : { timeMs, level, tag, fields, severity };
  }

  #countersOf(service: string): Counters {
    let counters = this.#counters.get(service);
    if (counters === undefined) {
      counters = createCounters();
      this.#counters.set(service, counters);
    }
    return counters;
  }
}

function levelOf(found: Diagnostic): Level {
  return found.severity === "error" ? "error" : "warn";
}

function diagnosticFields(found: Diagnostic, about?: { service: string; id: string }): DiagnosticFields {
  const { file, line, column, code, message, hint } = found;
  return {
    event: "diagnostic",
    ...(about === undefined ? undefined : { service: about.service, id: about.id }),
    code,
    message,
    file,
    line,
    ...(column === undefined ? undefined : { column }),
    ...(hint === undefined ? undefined : { hint }),
  };
}
