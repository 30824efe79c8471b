/** How a backend is reached, and what is said when it is not. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { dial, DialError, type BackendAddress, type DialOptions } from "../../src/relay/dial.ts";

const within5s = { connectTimeoutMs: 5000 };

async function refusal(backend: BackendAddress, options: DialOptions): Promise<DialError> {
  try {
    (await dial(backend, options)).destroy();
  } catch (error) {
    assert.ok(error instanceof DialError);
    return error;
  }
  throw new Error("the dial succeeded");
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

test("dial gives a paused socket with no-delay, to IPv4, IPv6 and a name", async () => {
  const server = createServer((socket) => void socket.end("greeting")).listen(0, "::");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  for (const host of ["127.0.0.1", "::1", "localhost"]) {
    const socket = await dial({ kind: "tcp", host, port }, within5s);
    assert.equal(socket.isPaused(), true);
    assert.equal(socket.allowHalfOpen, true);
    assert.ok(socket.listenerCount("error") > 0);
    socket.setEncoding("utf8");
    assert.deepEqual(await socket.toArray(), ["greeting"]);
    socket.destroy();
  }
  server.close();
});

test("H1: a port where nobody listens is backend_refused, with address and code", async () => {
  const port = await freePort();
  const error = await refusal({ kind: "tcp", host: "127.0.0.1", port }, within5s);
  assert.equal(error.endCause, "backend_refused");
  assert.deepEqual(error.tried, [`127.0.0.1:${port} ECONNREFUSED`]);
  assert.equal((error.cause as NodeJS.ErrnoException).code, "ECONNREFUSED");
});

test("H2: a backend that answers no SYN is connect_timeout after the limit", async () => {
  // A process that listens and never accepts: once its queue is full the kernel drops every further SYN.
  const script = `require("net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, function () {
    require("fs").writeSync(1, String(this.address().port));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  })`;
  const hung = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const [said] = (await once(hung.stdout, "data")) as [Buffer];
  const target = { host: "127.0.0.1", port: Number(said.toString()) };
  const fillers = [connect(target), connect(target)];
  try {
    await Promise.all(fillers.map((filler) => once(filler, "connect")));
    const startedMs = performance.now();
    const error = await refusal({ kind: "tcp", ...target }, { connectTimeoutMs: 200 });
    assert.equal(error.endCause, "connect_timeout");
    assert.deepEqual(error.tried, [`127.0.0.1:${target.port} ETIMEDOUT`]);
    assert.ok(performance.now() - startedMs < 1000);
    const cancel = new AbortController();
    const cancelled = refusal({ kind: "tcp", ...target }, { ...within5s, signal: cancel.signal });
    cancel.abort("client_gone");
    assert.equal((await cancelled).endCause, "client_gone");
  } finally {
    for (const filler of fillers) filler.destroy();
    hung.kill("SIGKILL");
    await once(hung, "close");
  }
});

test("D9: a client that goes away during the dial cancels it", async () => {
  const cancel = new AbortController();
  const refused = refusal(
    { kind: "tcp", host: "slow.example", port: 1 },
    { ...within5s, signal: cancel.signal, resolve: () => new Promise(() => {}) },
  );
  cancel.abort("client_gone");
  assert.equal((await refused).endCause, "client_gone");
});

test("D9: a client that is gone before the dial begins is dialled for by nobody", async () => {
  const resolve = (): Promise<string[]> => assert.fail("asked for a name");
  for (const host of ["127.0.0.1", "a.example"]) {
    const options = { ...within5s, resolve, signal: AbortSignal.abort("client_gone") };
    const error = await refusal({ kind: "tcp", host, port: 1 }, options);
    assert.equal(error.endCause, "client_gone");
  }
});

test("dial says drain or kicked when that is why it was cancelled", async () => {
  for (const reason of ["drain", "kicked"] as const) {
    const options = { ...within5s, signal: AbortSignal.abort(reason) };
    assert.equal((await refusal({ kind: "tcp", host: "127.0.0.1", port: 1 }, options)).endCause, reason);
  }
});

test("H2: a name that is not resolved in time is connect_timeout", async () => {
  const options = { connectTimeoutMs: 50, resolve: () => new Promise<string[]>(() => {}) };
  const error = await refusal({ kind: "tcp", host: "slow.example", port: 1 }, options);
  assert.equal(error.endCause, "connect_timeout");
  assert.deepEqual(error.tried, ["slow.example ETIMEOUT"]);
});

test("H4: a name whose first address is dead is reached by the second", async () => {
  const server = createServer((socket) => void socket.end()).listen(0, "127.0.0.2");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const resolve = async (): Promise<string[]> => ["127.0.0.3", "127.0.0.2"];
  const socket = await dial({ kind: "tcp", host: "two.example", port }, { ...within5s, resolve });
  assert.equal(socket.remoteAddress, "127.0.0.2");
  socket.destroy();
  server.close();
});

test("H4: a name without addresses and a name that does not exist are backend_unreachable", async () => {
  const none = await refusal(
    { kind: "tcp", host: "none.example", port: 1 },
    { ...within5s, resolve: async () => [] },
  );
  assert.equal(none.endCause, "backend_unreachable");
  const missing = await refusal(
    { kind: "tcp", host: "gone.example", port: 1 },
    { ...within5s, resolve: () => Promise.reject(Object.assign(new Error("no"), { code: "ENOTFOUND" })) },
  );
  assert.equal(missing.endCause, "backend_unreachable");
  assert.deepEqual(missing.tried, ["gone.example ENOTFOUND"]);
});

test("H6: a unix socket that is missing, stale, recreated or too long", async () => {
  const folder = await mkdtemp(join(tmpdir(), "dial-"));
  try {
    const path = join(folder, "s");
    assert.equal((await refusal({ kind: "unix", path }, within5s)).endCause, "backend_unreachable");
    const server = createServer((socket) => void socket.end("here")).listen(path);
    await once(server, "listening");
    const socket = await dial({ kind: "unix", path }, within5s);
    assert.equal((await socket.toArray()).join(""), "here");
    socket.destroy();
    server.close();
    const long = await refusal({ kind: "unix", path: `/tmp/${"x".repeat(120)}` }, within5s);
    assert.equal(long.endCause, "backend_unreachable");
    assert.equal(long.tried.length, 1);
  } finally {
    await rm(folder, { recursive: true });
  }
});
