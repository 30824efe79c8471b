/** What the journal needs of a place that records go to. */
import type { LogRecord } from "./records.ts";

/** How a sink stands, for `status`. */
export interface SinkState {
  readonly name: string;
  /** Why it cannot deliver now; absent = all is well. */
  readonly trouble?: string;
  readonly queuedLines: number;
  /** All lines lost since the start. */
  readonly lostLines: number;
}

/** A place that records go to. It never throws, never waits and never holds the caller up. */
export interface Sink {
  /** What it is called in records about it, such as "syslog /dev/log". */
  readonly name: string;
  /** Called once when it stops delivering, and once when it delivers again; set by the journal. */
  onTrouble?: (reason: string) => void;
  onReturn?: (lostLines: number) => void;
  write(record: LogRecord): void;
  /** A connection may only go on once this sink has its record. Absent = no. */
  readonly isAudit?: boolean;
  /**
   * Waits until everything written so far has gone out. Never rejects.
   *
   * @returns false as soon as it is known that something of it is lost, or late because the receiver is away
   */
  delivered?(): Promise<boolean>;
  state(): SinkState;
  /** Delivers what it can within the limit, then ends; what is left counts as lost. Never rejects. */
  close(withinMs: number): Promise<void>;
}
