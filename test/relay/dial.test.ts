/** How a backend is reached, and what is said when it is not. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { dial, DialError, type BackendAddress, type DialOptions } from "../../src/relay/dial.ts";
import { makeFastRelay } from "../../src/relay/fast.ts";
import { findHandleAccess } from "../../src/platform/node-handle.ts";
import { Wire } from "../../src/platform/wire.ts";
import { referenceRelay } from "../../src/relay/reference.ts";
import { readAll } from "./support/session.ts";

const access = await findHandleAccess();
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
    const socket = (await dial({ kind: "tcp", host, port }, within5s)).socket();
    assert.equal(socket.isPaused(), true);
    assert.equal(socket.allowHalfOpen, true);
    assert.ok(socket.listenerCount("error") > 0);
    socket.setEncoding("utf8");
    assert.deepEqual(await socket.toArray(), ["greeting"]);
    socket.destroy();
  }
  server.close();
});

for (const [how, bare] of [
  ["a socket", undefined],
  ["a bare connection", access.bare],
] as const)
  test(`H1: for ${how} a port where nobody listens is backend_refused, with address and code`, async () => {
    const port = await freePort();
    const error = await refusal({ kind: "tcp", host: "127.0.0.1", port }, { ...within5s, bare });
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
    for (const bare of [undefined, access.bare]) {
      const startedMs = performance.now();
      const error = await refusal({ kind: "tcp", ...target }, { connectTimeoutMs: 200, bare });
      assert.equal(error.endCause, "connect_timeout");
      assert.deepEqual(error.tried, [`127.0.0.1:${target.port} ETIMEDOUT`]);
      assert.ok(performance.now() - startedMs < 1000);
      const cancel = new AbortController();
      const cancelled = refusal({ kind: "tcp", ...target }, { ...within5s, signal: cancel.signal, bare });
      cancel.abort("client_gone");
      assert.equal((await cancelled).endCause, "client_gone");
    }
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

/** An accepted client, paused as the listener leaves it, and its far end. */
async function acceptClient(t: TestContext): Promise<{ client: Socket; accepted: Socket }> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepting = once(server, "connection") as Promise<[Socket]>;
  const client = connect({
    port: (server.address() as AddressInfo).port,
    host: "127.0.0.1",
    allowHalfOpen: true,
  });
  const [accepted] = await accepting;
  for (const socket of [client, accepted]) socket.on("error", () => undefined);
  t.after(() => {
    for (const socket of [client, accepted]) socket.destroy();
    server.close();
  });
  return { client, accepted };
}

const never = (): Promise<string[]> => new Promise(() => {});

const leaving: [how: string, leave: (client: Socket) => void][] = [
  ["resets the connection", (client) => void client.resetAndDestroy()],
  ["closes it without a word", (client) => void client.destroy()],
  [
    "resets it after it has spoken",
    (client) => void client.write("question", () => client.resetAndDestroy()),
  ],
];
for (const [how, leave] of leaving) {
  test(`D9: a client that ${how} during a long dial ends it as client_gone`, async (t) => {
    const { client, accepted } = await acceptClient(t);
    const startedMs = performance.now();
    const dialling = refusal(
      { kind: "tcp", host: "slow.example", port: 1 },
      { ...within5s, resolve: never, client: Wire.of(accepted) },
    );
    setTimeout(leave, 150, client);
    assert.equal((await dialling).endCause, "client_gone");
    assert.ok(performance.now() - startedMs < 2000);
  });
}

test("D9: a client that was gone before is dialled for by nobody", async (t) => {
  const { accepted } = await acceptClient(t);
  accepted.destroy();
  const error = await refusal(
    { kind: "tcp", host: "127.0.0.1", port: 1 },
    { ...within5s, client: Wire.of(accepted) },
  );
  assert.deepEqual([error.endCause, error.tried], ["client_gone", []]);
});

for (const [name, relay] of [
  ["reference", referenceRelay],
  ["fast", makeFastRelay(access)],
] as const) {
  test(`D8: what a client says and half-closes during a long dial comes first, by the ${name} relay`, async (t) => {
    const { client, accepted } = await acceptClient(t);
    const waiting = Wire.of(accepted);
    const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => void server.close());
    const question = randomBytes(300_000);
    client.write(question.subarray(0, 200_000));
    const resolve = async (): Promise<string[]> => {
      await new Promise((done) => setTimeout(done, 250));
      return ["127.0.0.1"];
    };
    const accepting = once(server, "connection") as Promise<[Socket]>;
    const { port } = server.address() as AddressInfo;
    const backend = await dial(
      { kind: "tcp", host: "slow.example", port },
      { ...within5s, resolve, client: waiting },
    );
    client.end(question.subarray(200_000));
    const relaying = relay(waiting, backend, { idleMs: 5000 });
    const [far] = await accepting;
    assert.ok((await readAll(far)).equals(question));
    far.end("answer");
    assert.equal((await readAll(client)).toString(), "answer");
    assert.deepEqual(await relaying, { upBytes: 300_000, downBytes: 6, cause: "client_closed" });
  });

  test(`D1: a short question, half-closed before a long dial ends, is answered, by the ${name} relay`, async (t) => {
    const { client, accepted } = await acceptClient(t);
    const waiting = Wire.of(accepted);
    const server = createServer({ allowHalfOpen: true }, (far) => void far.pipe(far)).listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => void server.close());
    client.end("question");
    const resolve = async (): Promise<string[]> => {
      await new Promise((done) => setTimeout(done, 250));
      return ["127.0.0.1"];
    };
    const { port } = server.address() as AddressInfo;
    const backend = await dial(
      { kind: "tcp", host: "slow.example", port },
      { ...within5s, resolve, client: waiting },
    );
    const relaying = relay(waiting, backend, { idleMs: 5000 });
    assert.equal((await readAll(client)).toString(), "question");
    assert.deepEqual(await relaying, { upBytes: 8, downBytes: 8, cause: "client_closed" });
  });
}

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
  assert.deepEqual(error.tried, ["slow.example ETIMEDOUT"]);
});

test("H2: the time that a name takes is taken from the time to reach it", async () => {
  const resolve = async (): Promise<string[]> => {
    await new Promise((done) => setTimeout(done, 900));
    return ["127.0.0.1"];
  };
  const startedMs = performance.now();
  const error = await refusal(
    { kind: "tcp", host: "slow.example", port: 1 },
    { connectTimeoutMs: 1000, resolve, open: () => new Promise<Socket>(() => {}) },
  );
  assert.equal(error.endCause, "connect_timeout");
  assert.ok(performance.now() - startedMs < 1700); // and not twice the limit
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
    const socket = (await dial({ kind: "unix", path }, within5s)).socket();
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
