/** The fast relay: reads into buffers of its own and writes straight to the handle, past Node's streams. */

import type { Socket } from "node:net";
import { getSystemErrorName } from "node:util";

import { onAbort } from "./abort.ts";
import { BufferPool } from "./buffers.ts";
import { Flow, type FlowEnds } from "./flow.ts";
import { IdleWatch } from "./idle.ts";
import { handleOf, wasReset, type HandleAccess } from "./node-handle.ts";
import { abortCause, socketErrorCause, type EndCause, type Relay, type Relayed } from "./relay.ts";
import { reset } from "./reset.ts";

/** Makes a `Relay` of what `findHandleAccess` has found. Its sessions share one pool of buffers. */
export function makeFastRelay(access: HandleAccess): Relay {
  const pool = new BufferPool();
  return (client, backend, options) =>
    new Promise((resolve) => {
      const session = new Session(client, backend, resolve);
      session.start(access, pool, options.idleMs, options.signal);
    });
}

/** One relayed session: two flows, and who ended them. */
class Session {
  readonly #client: Socket;
  readonly #backend: Socket;
  readonly #resolve: (relayed: Relayed) => void;
  #up: Flow | undefined;
  #down: Flow | undefined;
  #idle: IdleWatch | undefined;
  #stopHearing: (() => void) | undefined;
  /** One side takes nothing more, while what it has said before is still passed on. */
  #deaf: { readonly cause: EndCause; readonly hasEnded: boolean } | undefined;
  #firstClose: EndCause | undefined;
  #failure: EndCause | undefined;
  #open = 2;

  constructor(client: Socket, backend: Socket, resolve: (relayed: Relayed) => void) {
    this.#client = client;
    this.#backend = backend;
    this.#resolve = resolve;
  }

  start(access: HandleAccess, pool: BufferPool, idleMs: number, signal: AbortSignal | undefined): void {
    const client = this.#client;
    const backend = this.#backend;
    const clientHandle = handleOf(client);
    const backendHandle = handleOf(backend);
    if (clientHandle === undefined || backendHandle === undefined) {
      reset(client);
      reset(backend);
      const cause =
        clientHandle === undefined ? "client_gone" : backend.errored ? "backend_reset" : "backend_closed";
      this.#resolve({ upBytes: 0, downBytes: 0, cause });
      return;
    }
    client.on("error", (error) => this.#cut(socketErrorCause("client", error)));
    backend.on("error", (error) => this.#cut(socketErrorCause("backend", error)));
    client.once("close", () => this.#closed());
    backend.once("close", () => this.#closed());
    if (idleMs > 0) {
      this.#idle = new IdleWatch(
        idleMs,
        () => this.#cut("idle_timeout"),
        () => [this.#up, this.#down].some((flow) => flow?.hasProgressed()),
      );
    }
    const idle = this.#idle;
    const ends = (from: Socket, to: Socket, cause: EndCause): FlowEnds => ({
      moved: idle && (() => idle.touch()),
      ended: () => this.#ended(from, to, cause),
      failed: (status) => this.#failed(to, status),
    });
    this.#up = new Flow(
      access,
      pool,
      client,
      clientHandle,
      backendHandle,
      ends(client, backend, "client_closed"),
    );
    this.#down = new Flow(
      access,
      pool,
      backend,
      backendHandle,
      clientHandle,
      ends(backend, client, "backend_closed"),
    );
    this.#stopHearing = onAbort(signal, () => this.#cut(signal ? abortCause(signal) : "internal"));
    if (this.#failure !== undefined) return;
    this.#up.start();
    this.#down.start();
  }

  /** One way is finished, its bytes are in the kernel. */
  #ended(from: Socket, to: Socket, cause: EndCause): void {
    this.#firstClose ??= cause;
    if (this.#up?.isFinished === true && this.#down?.isFinished === true) {
      // Both are: a close says so too, and spares a shutdown and a turn of the loop. Nothing is left to be read, so it is
      // no reset.
      this.#client.destroy();
      this.#backend.destroy();
    } else if (this.#deaf !== undefined) {
      if (this.#deaf.hasEnded) to.end();
      this.#cut(this.#deaf.cause);
    } else if (wasReset(from)) {
      this.#cut(from === this.#client ? "client_reset" : "backend_reset");
    } else {
      to.end();
    }
  }

  /**
   * One side takes nothing more. When its peer is gone, its last words may still wait in the kernel (an HTTP server that
   * answers 413 and closes): they are passed on first, and then the reset. EPIPE says that an end came before the reset.
   */
  #failed(to: Socket, status: number): void {
    const error = writeError(status);
    const isGone = error.code === "ECONNRESET" || error.code === "EPIPE";
    const back = to === this.#client ? this.#up : this.#down;
    if (!isGone || back?.isFinished === true || this.#deaf !== undefined) {
      to.destroy(error);
      return;
    }
    const cause = socketErrorCause(to === this.#client ? "client" : "backend", error);
    this.#deaf = { cause, hasEnded: error.code === "EPIPE" };
  }

  #cut(cause: EndCause): void {
    this.#failure ??= cause;
    this.#up?.stop();
    this.#down?.stop();
    reset(this.#client);
    reset(this.#backend);
  }

  #closed(): void {
    this.#open -= 1;
    if (this.#open > 0) {
      // A socket that closes by itself has ended both ways, or somebody else has destroyed it.
      const finished = this.#up?.isFinished === true && this.#down?.isFinished === true;
      if (!finished) this.#cut("internal");
      return;
    }
    this.#stopHearing?.();
    this.#idle?.close();
    this.#up?.close();
    this.#down?.close();
    this.#resolve({
      upBytes: this.#up?.bytes ?? 0,
      downBytes: this.#down?.bytes ?? 0,
      cause: this.#failure ?? this.#firstClose ?? "internal",
    });
  }
}

function writeError(status: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(status);
  return Object.assign(new Error(`write ${code}`), { code, errno: status, syscall: "write" });
}
