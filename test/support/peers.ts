/** Clients and backends for tests: small, on loopback, ended with their test. */

import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

/** A backend that counts its connections; `address` is what a configuration says. */
export interface Backend {
  readonly address: string;
  readonly server: Server;
  connections: number;
}

/** Starts a backend on a free port of 127.0.0.1, or on a unix socket; by default it echoes. */
export async function startBackend(
  t: TestContext,
  serve: (socket: Socket) => void = (socket) => void socket.pipe(socket),
  path?: string,
): Promise<Backend> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    backend.connections += 1;
    open.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => open.delete(socket));
    serve(socket);
  });
  await new Promise<void>((resolve) => {
    if (path === undefined) server.listen(0, "127.0.0.1", resolve);
    else server.listen(path, resolve);
  });
  const address = path === undefined ? `127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${path}`;
  const backend: Backend = { address, server, connections: 0 };
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return backend;
}

/** What a client saw from connect to end. */
export interface Seen {
  readonly text: string;
  /** "end" = FIN; else the code of the error, such as ECONNRESET. */
  readonly end: string;
}

/** Connects, says `text` if any, and tells what it saw until the connection ended. */
export async function talk(
  port: number,
  { say = "", host = "127.0.0.1", from = "127.0.0.1", isHalfClosed = true } = {},
): Promise<Seen> {
  return await new Promise((resolve) => {
    const socket = connect({
      port,
      host,
      ...(host === "127.0.0.1" && { localAddress: from }),
      allowHalfOpen: true,
    });
    let text = "";
    let end = "";
    socket.on("connect", () => {
      if (say !== "") socket.write(say);
      if (isHalfClosed) socket.end();
    });
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    socket.on("end", () => {
      end ||= "end";
      socket.end();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => (end = error.code ?? "error"));
    socket.on("close", () => resolve({ text, end }));
    socket.setTimeout(10_000, () => socket.destroy(Object.assign(new Error("silent"), { code: "silent" })));
  });
}

/** An open connection of a client, after its first answer. */
export async function open(t: TestContext, port: number, host = "127.0.0.1"): Promise<Socket> {
  const socket = connect({ port, host });
  socket.on("error", () => undefined);
  t.after(() => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return socket;
}

/** Says a line over an open connection and gives the answer. */
export async function ask(socket: Socket, line: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    socket.once("data", (chunk: Buffer) => resolve(chunk.toString()));
    socket.once("close", () => reject(new Error("closed")));
    socket.write(line);
  });
}
