/** What ends a wait for a backend: the time limit, an abort, or the client that went away meanwhile. */

import type { Socket } from "node:net";

import { handleOf, wasReset } from "../platform/node-handle.ts";
import type { Wire } from "../platform/wire.ts";
import { onAbort, type Stop } from "./abort.ts";

/** Why a wait ended early, in the manner of error codes. */
export type Impatience = "ETIMEDOUT" | "ECANCELED" | "ECLIENTGONE";

export interface PatienceOptions {
  readonly signal?: Stop | undefined;
  /** The client that waits too: paused, nothing of it read. */
  readonly client?: Wire | undefined;
}

/** A dial to a healthy backend is long over by then, and costs nothing more. */
const watchClientAfterMs = 100;

/**
 * Calls `giveUp` at most once, unless the wait is stopped before.
 *
 * A paused socket hears neither FIN nor RST, so a client is listened to when the wait is long: what it sends stays in its
 * stream (64 KiB at most) and comes first when it is relayed. It is gone when it resets the connection, or ends it without
 * having said anything: a client that has asked and half-closed still waits for its answer.
 *
 * @returns stops waiting; the client is as it was, but for what its stream holds
 */
export function waitFor(
  limitMs: number,
  options: PatienceOptions,
  giveUp: (why: Impatience) => void,
): () => void {
  const { client, signal } = options;
  if (client?.destroyed || signal?.aborted) {
    // Never at once: the caller does not know yet how to stop.
    queueMicrotask(() => giveUp(client?.destroyed ? "ECLIENTGONE" : "ECANCELED"));
    return () => undefined;
  }
  const isLong = client !== undefined && limitMs > watchClientAfterMs;
  let stopListening: (() => void) | undefined;
  let timer = setTimeout(
    () => {
      if (!isLong) {
        giveUp("ETIMEDOUT");
        return;
      }
      timer = setTimeout(() => giveUp("ETIMEDOUT"), limitMs - watchClientAfterMs);
      stopListening = listenFor(client.socket(), () => giveUp("ECLIENTGONE"));
    },
    Math.max(1, isLong ? watchClientAfterMs : limitMs),
  );
  const stopHearing = onAbort(signal, () => giveUp("ECANCELED"));
  return () => {
    clearTimeout(timer);
    stopHearing();
    stopListening?.();
  };
}

function listenFor(client: Socket, gone: () => void): () => void {
  // Reading without taking: the stream fills to its mark and stops. "end" comes only if there was nothing to take.
  const stayReadable = (): void => {
    if (wasReset(handleOf(client))) gone();
  };
  client.on("readable", stayReadable).on("end", gone).on("error", gone).on("close", gone);
  return () => {
    client.off("readable", stayReadable).off("end", gone).off("error", gone).off("close", gone);
    client.pause();
  };
}
