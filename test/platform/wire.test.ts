/** A connection without a Socket, and how it gets one. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { getSystemErrorName } from "node:util";
import { test, type TestContext } from "node:test";

import { acceptBare, findHandleAccess, type BareAccess } from "../../src/platform/node-handle.ts";
import { Wire } from "../../src/platform/wire.ts";

const { bare } = await findHandleAccess();
assert.ok(bare !== undefined, "this Node has bare connections");
const access: BareAccess = bare;

/** A client's own end, and what a listener without Sockets makes of it. */
async function acceptOne(t: TestContext, host = "127.0.0.1"): Promise<{ client: Socket; wire: Wire }> {
  const server = createServer(() => assert.fail("a Socket was made")).listen(0, host);
  await once(server, "listening");
  const accepting = new Promise<Wire>((resolve) =>
    acceptBare(server, access, (handle) => resolve(Wire.bare(access, handle))),
  );
  const client = connect({ port: (server.address() as AddressInfo).port, host, allowHalfOpen: true });
  client.on("error", () => undefined);
  const wire = await accepting;
  if (client.connecting) await once(client, "connect");
  t.after(() => {
    client.destroy();
    wire.destroy();
    server.close();
  });
  return { client, wire };
}

for (const host of ["127.0.0.1", "::1"])
  test(`a bare connection to ${host} knows both of its ends, and keeps them`, async (t) => {
    const { client, wire } = await acceptOne(t, host);
    const { remoteAddress, remotePort, localAddress, localPort } = wire;
    assert.deepEqual([remoteAddress, remotePort], [host, client.localPort]);
    assert.deepEqual([localAddress, localPort], [host, client.remotePort]);
    wire.destroy();
    assert.deepEqual([wire.remoteAddress, wire.destroyed], [host, true]);
  });

test("a socket that is asked for is paused, half-open, and has every byte", async (t) => {
  const { client, wire } = await acceptOne(t);
  client.end("question");
  const socket = wire.socket();
  assert.equal(wire.handle, undefined);
  assert.equal(wire.socket(), socket);
  assert.deepEqual([socket.isPaused(), socket.allowHalfOpen], [true, true]);
  assert.ok(socket.listenerCount("error") > 0);
  assert.equal(Buffer.concat((await socket.toArray()) as Buffer[]).toString(), "question");
  assert.equal(wire.bytesRead, 8);
});

test("the socket of a closed connection is destroyed", async (t) => {
  const { wire } = await acceptOne(t);
  wire.reset();
  assert.equal(wire.socket().destroyed, true);
});

for (const unread of [false, true])
  test(`reset is a reset to the client, ${unread ? "with unread bytes" : "with nothing sent"}, and tells it once`, async (t) => {
    const { client, wire } = await acceptOne(t);
    if (unread) await new Promise((written) => client.write("unread", written));
    let closed = 0;
    wire.onClosed = () => (closed += 1);
    const ending = once(client, "error") as Promise<[NodeJS.ErrnoException]>;
    client.resume();
    wire.reset();
    wire.reset();
    wire.destroy();
    assert.equal((await ending)[0].code, "ECONNRESET");
    assert.equal(closed, 1);
  });

test("end is an end to the client; a reset in the same turn waits for it, and closes", async (t) => {
  const { client, wire } = await acceptOne(t);
  const closed = new Promise<void>((resolve) => (wire.onClosed = resolve));
  const ended = new Promise<string>((resolve) => {
    client.once("end", () => resolve("end"));
    client.once("error", () => resolve("reset"));
  });
  client.resume();
  wire.end();
  wire.reset();
  assert.equal(wire.destroyed, false);
  await closed;
  assert.equal(wire.destroyed, true);
  await ended;
});

test("a port where nobody listens is ECONNREFUSED, later", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  const status = await new Promise<number>((resolve) => {
    assert.ok(Wire.connect(access, "127.0.0.1", port, resolve) instanceof Wire);
  });
  assert.equal(getSystemErrorName(status), "ECONNREFUSED");
});

test("a connection that is closed before it is there says so", async () => {
  const status = await new Promise<number>((resolve) => {
    // A network that answers nobody: RFC 5737.
    const wire = Wire.connect(access, "192.0.2.1", 9, resolve);
    if (wire instanceof Wire) wire.destroy();
    else resolve(wire);
  });
  assert.ok(["ECANCELED", "ENETUNREACH"].includes(getSystemErrorName(status)), getSystemErrorName(status));
});

test("a listener on a unix socket goes on with Sockets", async (t) => {
  const server = createServer().listen(`\0wire-${process.pid}`);
  await once(server, "listening");
  t.after(() => void server.close());
  acceptBare(server, access, () => assert.fail("a bare handle of a unix socket"));
  const client = connect(`\0wire-${process.pid}`);
  const [accepted] = (await once(server, "connection")) as [Socket];
  client.destroy();
  accepted.destroy();
});
