/** One relayed session on loopback, with both far ends in the test's hands. */

import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

import { dial } from "../../../src/relay/dial.ts";
import { acceptBare, handleOf, wasReset, type BareAccess } from "../../../src/platform/node-handle.ts";
import { Wire } from "../../../src/platform/wire.ts";
import type { Relay, Relayed } from "../../../src/relay/relay.ts";

/** The far ends of a session; `done` is what the relay says of it. */
export interface Session {
  /** The client's own end. */
  readonly client: Socket;
  /** The backend's own end. */
  readonly backend: Socket;
  readonly done: Promise<Relayed>;
  /** The relay's connections. */
  readonly inner: { readonly client: Wire; readonly backend: Wire };
  close(): Promise<void>;
}

export interface SessionOptions {
  readonly relay: Relay;
  /** The relay gets bare connections; absent = sockets. */
  readonly bare?: BareAccess | undefined;
  readonly idleMs?: number;
  readonly halfClosedMs?: number;
  readonly signal?: AbortSignal;
  /** A unix socket path for the backend, instead of TCP. */
  readonly backendPath?: string;
  /** Runs when the client has been accepted and nothing has been dialled. */
  readonly beforeDial?: (client: Socket, accepted: Wire) => Promise<void>;
  /** Runs when the backend is connected and the relay has not begun. */
  readonly beforeRelay?: (ends: { client: Socket; backend: Socket }) => Promise<void>;
}

export async function startSession(options: SessionOptions): Promise<Session> {
  const front = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
  const back = createServer({ allowHalfOpen: true, noDelay: true });
  await Promise.all([listen(front), listen(back, options.backendPath)]);
  const { bare } = options;
  const accepting = new Promise<Wire>((resolve) => {
    front.once("connection", (socket: Socket) => resolve(Wire.of(socket)));
    if (bare !== undefined) acceptBare(front, bare, (handle) => resolve(Wire.bare(bare, handle)));
  });
  const client = connect({
    port: (front.address() as AddressInfo).port,
    host: "127.0.0.1",
    allowHalfOpen: true,
    noDelay: true,
  });
  client.on("error", () => {});
  const accepted = await accepting;
  await options.beforeDial?.(client, accepted);
  const backendAccepted = once(back, "connection") as Promise<[Socket]>;
  const dialled = await dial(
    options.backendPath === undefined
      ? { kind: "tcp", host: "127.0.0.1", port: (back.address() as AddressInfo).port }
      : { kind: "unix", path: options.backendPath },
    { connectTimeoutMs: 5000, bare },
  );
  const [backend] = await backendAccepted;
  backend.on("error", () => {});
  await options.beforeRelay?.({ client, backend });
  const done = options.relay(accepted, dialled, {
    idleMs: options.idleMs ?? 0,
    halfClosedMs: options.halfClosedMs ?? 0,
    ...(options.signal ? { signal: options.signal } : {}),
  });
  return {
    client,
    backend,
    done,
    inner: { client: accepted, backend: dialled },
    close: async () => {
      for (const socket of [client, backend, accepted, dialled]) socket.destroy();
      await Promise.all([front, back].map((server) => new Promise((closed) => server.close(closed))));
    },
  };
}

/** Everything that arrives until the end, as one buffer; rejects on an error. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk)).resume();
  await new Promise<void>((resolve, reject) => {
    socket.once("end", resolve);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed without an end")));
  });
  return Buffer.concat(chunks);
}

/** The next `length` bytes, then stops reading. */
export async function readExactly(socket: Socket, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let have = 0;
    const settle = (error?: Error): void => {
      socket.pause();
      socket.off("data", onData).off("error", settle).off("end", onEnd);
      if (error) reject(error);
      else resolve(Buffer.concat(chunks));
    };
    const onEnd = (): void => settle(new Error(`ended after ${have} of ${length} bytes`));
    const onData = (chunk: Buffer): void => {
      const wanted = chunk.subarray(0, length - have);
      chunks.push(wanted);
      have += wanted.length;
      if (have < length) return;
      const rest = chunk.subarray(wanted.length);
      settle();
      if (rest.length > 0) socket.unshift(rest);
    };
    socket.on("data", onData).on("error", settle).on("end", onEnd).resume();
  });
}

/** How a far end sees the session end: "end", or the code of the error. */
export async function howItEnds(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    // The far end is a Node too: data and a reset in one turn look like an ordinary end to it.
    socket.once("end", () =>
      resolve(!socket.writableEnded && wasReset(handleOf(socket)) ? "ECONNRESET" : "end"),
    );
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "error"));
    socket.once("close", () => resolve("close"));
    socket.resume();
  });
}

async function listen(server: Server, path?: string): Promise<void> {
  if (path === undefined) server.listen(0, "127.0.0.1");
  else server.listen(path);
  await once(server, "listening");
}
