/**
 * The reference relay: two opposite pipelines over public interfaces; what every other relay is compared with. Only the
 * question whether an end was a reset has no public answer; without a private one it is taken for an end.
 */

import type { Socket } from "node:net";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { handleOf, wasReset } from "../platform/node-handle.ts";
import { reset } from "../platform/reset.ts";
import { type Swept, sweepEverySecond, sweepNoMore } from "../platform/sweep.ts";
import { onAbort } from "./abort.ts";
import { halfClosedDetail, HalfClosedWatch } from "./half-closed.ts";
import { IdleWatch } from "./idle.ts";
import { abortCause, socketErrorCause, type EndCause, type Relay } from "./relay.ts";

/** A `Relay`. A chunk (64 KiB at most) counts as delivered when the kernel has taken all of it. */
export const referenceRelay: Relay = async (clientWire, backendWire, options) => {
  const { idleMs, halfClosedMs = 0, signal } = options;
  const [client, backend] = [clientWire.socket(), backendWire.socket()];
  let firstClose: EndCause | undefined;
  let failure: EndCause | undefined;
  let upBytes = 0;
  let downBytes = 0;

  // A pipeline waits for the end of a source that has read it, even where the source is destroyed with chunks before it.
  let closedByCut: () => void = () => undefined;
  const isCut = new Promise<void>((resolve) => {
    closedByCut = () => void Promise.all([client, backend].map(closed)).then(() => resolve());
  });
  const cut = (cause: EndCause): void => {
    failure ??= cause;
    reset(client);
    reset(backend);
    closedByCut();
  };

  // Before the pipelines: they would tell the other side of a reset with an ordinary FIN.
  client.on("error", (error) => cut(socketErrorCause("client", error)));
  backend.on("error", (error) => cut(socketErrorCause("backend", error)));
  client.once("end", () => {
    if (firstClose === undefined && wasReset(handleOf(client))) cut("client_reset");
    firstClose ??= "client_closed";
  });
  backend.once("end", () => {
    if (firstClose === undefined && wasReset(handleOf(backend))) cut("backend_reset");
    firstClose ??= "backend_closed";
  });
  if (client.destroyed) cut("client_gone");
  if (backend.destroyed) cut(backend.errored ? "backend_reset" : "backend_closed");
  const stopHearing = onAbort(signal, () => cut(signal ? abortCause(signal) : "internal"));
  const idle = new IdleWatch(idleMs, () => cut("idle_timeout"));

  const up = deliver(backend, {
    delivered: (bytes) => {
      upBytes += bytes;
      idle.touch();
    },
    lost: () => cut("backend_reset"),
  });
  const down = deliver(client, {
    delivered: (bytes) => {
      downBytes += bytes;
      idle.touch();
    },
    lost: () => cut("client_reset"),
  });
  const stalls = [
    new StallWatch(client, backend, () => cut("client_reset")),
    new StallWatch(backend, client, () => cut("backend_reset")),
  ];
  let halfClosed: HalfClosedWatch | undefined;
  let more: { readonly detail?: string } = {};
  const watchHalfClosed = (): void => {
    if (halfClosedMs === 0 || up.writableFinished || failure !== undefined) return;
    halfClosed = new HalfClosedWatch(halfClosedMs, {
      movedUp: () => upBytes,
      expired: () => {
        more = { detail: halfClosedDetail };
        // See the fast relay: a reset would take from the client what it has not read yet.
        if (backend.writableLength === 0) client.destroy();
        cut("idle_timeout");
      },
    });
  };
  await Promise.race([
    isCut,
    Promise.allSettled([
      pipeline(client, up).catch(() => cut("internal")),
      pipeline(backend, down).then(watchHalfClosed, () => cut("internal")),
    ]),
  ]);

  for (const stall of stalls) stall.close();
  halfClosed?.close();
  idle.close();
  stopHearing();
  client.destroy();
  backend.destroy();
  return { upBytes, downBytes, cause: failure ?? firstClose ?? "internal", ...more };
};

/** A side whose bytes are not taken is not read, and nobody hears of its reset. */
class StallWatch implements Swept {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #lost: () => void;
  #takenBefore = -1;

  constructor(from: Socket, to: Socket, lost: () => void) {
    this.#from = from;
    this.#to = to;
    this.#lost = lost;
    sweepEverySecond(this);
  }

  close(): void {
    sweepNoMore(this);
  }

  sweep(): void {
    const taken = this.#to.bytesWritten - this.#to.writableLength;
    const isStalled = this.#to.writableLength > 0 && taken === this.#takenBefore;
    this.#takenBefore = taken;
    // Where we have ended our own direction, a connection that is over looks the same whichever way it went.
    if (isStalled && !this.#from.writableEnded && wasReset(handleOf(this.#from))) this.#lost();
  }
}

async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
}

interface Delivery {
  /** So many bytes have arrived in the kernel. */
  readonly delivered: (bytes: number) => void;
  /** The connection was reset, and everything that came from it has been read. */
  readonly lost: () => void;
}

/**
 * A writable that passes chunks on and says which ones have arrived in the kernel. `socket.bytesWritten` cannot: it
 * counts what was handed to libuv, taken or not.
 */
function deliver(socket: Socket, { delivered, lost }: Delivery): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done): void {
      if (wasReset(handleOf(socket))) {
        // A write that fails destroys the socket, with the peer's last words unread; this one fails when they are read.
        socket.once("close", () => done(new Error("the connection was reset")));
        if (socket.readableEnded) lost();
        else socket.once("end", lost);
        return;
      }
      socket.write(chunk, (error) => {
        if (!error) delivered(chunk.length);
        done(error);
      });
    },
    final(done): void {
      // end() of a destroyed socket never calls back on Node 20.
      if (socket.destroyed) done(new Error("the socket is closed"));
      else socket.end(done);
    },
  });
}
