/** The fast relay: reads into buffers of its own and writes straight to the handle, past Node's streams. */

import { getSystemErrorName } from "node:util";

import type { HandleAccess } from "../platform/node-handle.ts";
import type { Wire } from "../platform/wire.ts";
import { onAbort } from "./abort.ts";
import { BufferPool } from "./buffers.ts";
import { type End, type EndOwner, endOf } from "./ends.ts";
import { Flow, type FlowSession } from "./flow.ts";
import { type HalfClosed, halfClosedDetail, HalfClosedWatch } from "./half-closed.ts";
import { IdleWatch } from "./idle.ts";
import {
  abortCause,
  socketErrorCause,
  type EndCause,
  type Relay,
  type Relayed,
  type RelayOptions,
} from "./relay.ts";

/**
 * Makes a `Relay` of what `findHandleAccess` has found.
 *
 * @param pool of all its sessions; another one only in tests
 */
export function makeFastRelay(access: HandleAccess, pool = new BufferPool()): Relay {
  return (client, backend, options) =>
    new Promise((resolve) => {
      const ends = [endOf(access, client), endOf(access, backend)] as const;
      if (ends[0] !== undefined && ends[1] !== undefined)
        new Session(ends[0], ends[1], resolve).start(access, pool, options);
      else resolve(missed(client, backend));
    });
}

/** One of the two is closed before the relay has begun. */
function missed(client: Wire, backend: Wire): Relayed {
  const cause = client.destroyed
    ? "client_gone"
    : backend.socket().errored
      ? "backend_reset"
      : "backend_closed";
  client.reset();
  backend.reset();
  return { upBytes: 0, downBytes: 0, cause };
}

/** One relayed session: two flows, and who ended them. */
class Session implements EndOwner, FlowSession, HalfClosed {
  readonly #client: End;
  readonly #backend: End;
  readonly #resolve: (relayed: Relayed) => void;
  #up: Flow | undefined;
  #down: Flow | undefined;
  #idle: IdleWatch | undefined;
  #halfClosedMs = 0;
  #halfClosed: HalfClosedWatch | undefined;
  #stopHearing: (() => void) | undefined;
  /** One side takes nothing more, while what it has said before is still passed on, for as long as that moves; see `stalled`. */
  #deaf: { readonly cause: EndCause; readonly hasEnded: boolean } | undefined;
  #firstClose: EndCause | undefined;
  #failure: EndCause | undefined;
  #detail: string | undefined;
  #open = 2;

  constructor(client: End, backend: End, resolve: (relayed: Relayed) => void) {
    this.#client = client;
    this.#backend = backend;
    this.#resolve = resolve;
  }

  start(access: HandleAccess, pool: BufferPool, { idleMs, halfClosedMs = 0, signal }: RelayOptions): void {
    const client = this.#client;
    const backend = this.#backend;
    this.#halfClosedMs = halfClosedMs;
    client.hear(this);
    backend.hear(this);
    if (idleMs > 0) {
      this.#idle = new IdleWatch(
        idleMs,
        () => this.#cut("idle_timeout"),
        () => [this.#up, this.#down].some((flow) => flow?.hasProgressed()),
      );
    }
    this.#up = new Flow(access, pool, client, backend, this);
    this.#down = new Flow(access, pool, backend, client, this);
    this.#stopHearing = onAbort(signal, () => this.#cut(signal ? abortCause(signal) : "internal"));
    if (this.#failure !== undefined) return;
    this.#up.start();
    this.#down.start();
  }

  broken(end: End, error: NodeJS.ErrnoException | { readonly code: string }): void {
    this.#cut(socketErrorCause(end === this.#client ? "client" : "backend", error));
  }

  moved(): void {
    this.#idle?.touch();
  }

  /** One way is finished, its bytes are in the kernel. */
  ended(from: End, to: End): void {
    this.#firstClose ??= from === this.#client ? "client_closed" : "backend_closed";
    if (this.#up?.isFinished === true && this.#down?.isFinished === true) {
      // Both are: a close says so too, and spares a shutdown and a turn of the loop. Nothing is left to be read, so it is
      // no reset.
      this.#client.destroy();
      this.#backend.destroy();
    } else if (this.#deaf !== undefined) {
      if (this.#deaf.hasEnded) to.end();
      this.#cut(this.#deaf.cause);
    } else if (from.wasReset()) {
      this.#cut(from === this.#client ? "client_reset" : "backend_reset");
    } else {
      to.end();
      if (from === this.#backend && this.#halfClosedMs > 0)
        this.#halfClosed = new HalfClosedWatch(this.#halfClosedMs, this);
    }
  }

  movedUp(): number {
    return this.#up?.moved() ?? 0;
  }

  expired(): void {
    this.#detail = halfClosedDetail;
    // A reset would take from the client what its kernel, or ours, still has for it. Where its own words are cut off it has to know.
    if (this.#up?.isWriting !== true) {
      this.#failure = "idle_timeout";
      this.#client.destroy();
    }
    this.#cut("idle_timeout");
  }

  /**
   * One side takes nothing more. When its peer is gone, its last words may still wait in the kernel (an HTTP server that
   * answers 413 and closes): they are passed on first, and then the reset. EPIPE says that an end came before the reset.
   */
  failed(to: End, status: number): void {
    const error = { code: getSystemErrorName(status) };
    const cause = socketErrorCause(to === this.#client ? "client" : "backend", error);
    const isGone = error.code === "ECONNRESET" || error.code === "EPIPE";
    const back = to === this.#client ? this.#up : this.#down;
    if (!isGone || back?.isFinished === true || this.#deaf !== undefined) this.#cut(cause);
    else this.#deaf = { cause, hasEnded: error.code === "EPIPE" };
  }

  /**
   * A side that nobody reads is not heard either, though it may be gone: a reset is passed on then. As long as something moves, its
   * last words go before it.
   */
  stalled(from: End): void {
    const isClient = from === this.#client;
    if (this.#deaf !== undefined) this.#cut(this.#deaf.cause);
    // Where we have ended our own direction, a connection that is over looks the same whichever way it went.
    else if ((isClient ? this.#down : this.#up)?.isFinished !== true && from.wasReset())
      this.#cut(isClient ? "client_reset" : "backend_reset");
  }

  #cut(cause: EndCause): void {
    this.#failure ??= cause;
    this.#up?.stop();
    this.#down?.stop();
    this.#client.reset();
    this.#backend.reset();
  }

  closed(): void {
    this.#open -= 1;
    if (this.#open > 0) {
      // A socket that closes by itself has ended both ways, or somebody else has destroyed it.
      const finished = this.#up?.isFinished === true && this.#down?.isFinished === true;
      if (!finished) this.#cut("internal");
      return;
    }
    this.#stopHearing?.();
    this.#idle?.close();
    this.#halfClosed?.close();
    this.#up?.close();
    this.#down?.close();
    const upBytes = this.#up?.bytes ?? 0;
    const downBytes = this.#down?.bytes ?? 0;
    const cause = this.#failure ?? this.#firstClose ?? "internal";
    const detail = this.#detail;
    this.#resolve(
      detail === undefined ? { upBytes, downBytes, cause } : { upBytes, downBytes, cause, detail },
    );
  }
}
