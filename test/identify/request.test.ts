import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo, ListenOptions, NetConnectOpts } from "node:net";
import { connect, createServer, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { requestOf } from "../../src/identify/request.ts";

/** Accepts one connection the way a listener does, shows it, and ends everything. */
async function accepted(
  listen: ListenOptions,
  to: (port: number) => NetConnectOpts,
  look: (socket: Socket, client: Socket) => void | Promise<void>,
): Promise<void> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen(listen);
  await once(server, "listening");
  const bound = server.address();
  const port = typeof bound === "string" ? 0 : (bound as AddressInfo).port;
  const arrival = once(server, "connection");
  const client = connect(to(port));
  client.on("error", () => {});
  await once(client, "connect");
  const [socket] = (await arrival) as [Socket];
  socket.on("error", () => {});
  try {
    await look(socket, client);
  } finally {
    socket.destroy();
    client.destroy();
    server.close();
    await once(server, "close");
  }
}

test("requestOf gives both endpoints of an IPv4 connection", () =>
  accepted(
    { port: 0, host: "127.0.0.1" },
    (port) => ({ port, host: "127.0.0.1", localAddress: "127.0.0.66" }),
    (socket, client) => {
      assert.deepEqual(requestOf(socket, "sshd"), {
        daemon: "sshd",
        client: { address: "127.0.0.66", port: client.localPort },
        server: { address: "127.0.0.1", port: client.remotePort },
      });
    },
  ));

test("requestOf gives both endpoints of an IPv6 connection", () =>
  accepted(
    { port: 0, host: "::1" },
    (port) => ({ port, host: "::1" }),
    (socket, client) => {
      const request = requestOf(socket, "sshd");
      assert.deepEqual(request?.client, { address: "::1", port: client.localPort });
      assert.deepEqual(request?.server, { address: "::1", port: client.remotePort });
    },
  ));

test("requestOf keeps the text of an IPv4-mapped peer, as libwrap prints it", () =>
  accepted(
    { port: 0, host: "::" },
    (port) => ({ port, host: "127.0.0.1", localAddress: "127.0.0.5" }),
    (socket) => {
      assert.equal(requestOf(socket, "sshd")?.client.address, "::ffff:127.0.0.5");
      assert.equal(requestOf(socket, "sshd")?.server.address, "::ffff:127.0.0.1");
    },
  ));

test("requestOf calls a unix-socket peer localhost, and its name unknown", async () => {
  const folder = await mkdtemp(join(tmpdir(), "request-"));
  const path = join(folder, "socket");
  try {
    await accepted(
      { path },
      () => ({ path }),
      (socket) => {
        assert.deepEqual(requestOf(socket, "sshd")?.client, { address: "localhost", name: "unknown" });
      },
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("requestOf gives nothing for a peer that has reset its connection: nobody can say who it was", () =>
  accepted(
    { port: 0, host: "127.0.0.1" },
    (port) => ({ port, host: "127.0.0.1" }),
    async (socket, client) => {
      client.resetAndDestroy();
      await once(client, "close");
      while (socket.remoteAddress !== undefined) await new Promise((resolve) => setImmediate(resolve));
      assert.equal(requestOf(socket, "sshd"), undefined);
    },
  ));

test("requestOf gives nothing for a destroyed socket", () => {
  assert.equal(requestOf(new Socket().destroy(), "sshd"), undefined);
});
