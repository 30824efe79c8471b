/** What a relay is: the one signature that every way of joining a client to its backend has. */

import type { Wire } from "../platform/wire.ts";
import type { Stop } from "./abort.ts";

/** How a session ended, as the `end` record names it. */
export const endCauses = [
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

/** One of `endCauses`. The first close names a clean end; a reset or a cut overrules it. */
export type EndCause = (typeof endCauses)[number];

/** What became of a relayed session. */
export interface Relayed {
  /** Bytes from the client that the backend's socket has taken. */
  readonly upBytes: number;
  /** Bytes from the backend that the client's socket has taken. */
  readonly downBytes: number;
  readonly cause: EndCause;
  /** More about the cause, for the record. */
  readonly detail?: string;
}

export interface RelayOptions {
  /** The session is cut when no byte has moved either way for so long; 0 = no limit. */
  readonly idleMs: number;
  /** The session is cut when its backend has ended, and no byte has come from the client for so long since; absent or 0 = no limit. */
  readonly halfClosedMs?: number;
  /** Aborting cuts the session; the reason is the cause to report, such as `abort("drain")`. */
  readonly signal?: Stop;
}

/**
 * Copies bytes client ↔ backend until both ways are finished, and closes both sockets.
 *
 * A half-close, a reset and back-pressure on one side reach the other. A session that is cut (idle, abort) ends with
 * a reset on both sides, so that nobody takes the half for the whole. Only a client that has the whole, because its backend has ended,
 * is left to read it: its connection is closed (`halfClosedMs`).
 *
 * @param client accepted with `allowHalfOpen` and `pauseOnConnect`; still paused
 * @param backend as `dial` gives it; a header may have been written to it, it is not counted
 * @returns the totals and the cause, when both connections are closed; never rejects
 */
export type Relay = (client: Wire, backend: Wire, options: RelayOptions) => Promise<Relayed>;

/** Reads the cause out of an aborted signal; "internal" when its reason is none of ours. */
export function abortCause(signal: Pick<Stop, "reason">): EndCause {
  return endCauses.find((cause) => cause === signal.reason) ?? "internal";
}

/**
 * Names the end that an error on one side means.
 *
 * A peer that stopped answering (ETIMEDOUT by keep-alive or retransmission, a route that went away) is gone or
 * unreachable; everything else that the kernel reports on an open connection is a reset.
 */
export function socketErrorCause(
  side: "client" | "backend",
  error: NodeJS.ErrnoException | { readonly code: string },
): EndCause {
  if (error.code !== undefined && silentPeer.has(error.code)) {
    return side === "client" ? "client_gone" : "backend_unreachable";
  }
  return side === "client" ? "client_reset" : "backend_reset";
}

const silentPeer: ReadonlySet<string> = new Set(["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN"]);
