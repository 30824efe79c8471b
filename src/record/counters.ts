/** Counts what happened to connections, per service; pure numbers that can be added up over workers. */
import type { EndCause, RefuseReason } from "./records.ts";
import { END_CAUSES, REFUSE_REASONS } from "./records.ts";

/** What has happened on one service since the start. `open` is a gauge, everything else only grows. */
export interface Counters {
  /** Connections that are open now, undecided ones too. */
  open: number;
  accepted: number;
  /** Health checks that were let in; they are in no other number but `open`, and in `refused` if they were refused. */
  checks: number;
  twisted: number;
  refused: Record<RefuseReason, number>;
  ended: Record<EndCause, number>;
  upBytes: number;
  downBytes: number;
  /** Sum over all verdicts; divided by their number it is the mean time of a decision. */
  decisionMs: number;
}

/** Counters that have seen nothing yet. */
export function createCounters(): Counters {
  return {
    open: 0,
    accepted: 0,
    checks: 0,
    twisted: 0,
    refused: zeros(REFUSE_REASONS),
    ended: zeros(END_CAUSES),
    upBytes: 0,
    downBytes: 0,
    decisionMs: 0,
  };
}

/** The sum of two, as a third; neither is changed. */
export function addCounters(one: Counters, other: Counters): Counters {
  return {
    open: one.open + other.open,
    accepted: one.accepted + other.accepted,
    checks: one.checks + other.checks,
    twisted: one.twisted + other.twisted,
    refused: addEach(REFUSE_REASONS, one.refused, other.refused),
    ended: addEach(END_CAUSES, one.ended, other.ended),
    upBytes: one.upBytes + other.upBytes,
    downBytes: one.downBytes + other.downBytes,
    decisionMs: one.decisionMs + other.decisionMs,
  };
}

function zeros<Key extends string>(keys: readonly Key[]): Record<Key, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<Key, number>;
}

function addEach<Key extends string>(
  keys: readonly Key[],
  one: Record<Key, number>,
  other: Record<Key, number>,
): Record<Key, number> {
  return Object.fromEntries(keys.map((key) => [key, one[key] + other[key]])) as Record<Key, number>;
}
