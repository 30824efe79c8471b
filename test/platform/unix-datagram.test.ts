import assert from "node:assert/strict";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { once } from "node:events";

import { UnixDatagram } from "../../src/platform/unix-datagram.ts";
import { bindAndNeverRead, receiveDatagrams, temporaryFolder } from "../support/unix-receiver.ts";

test("a datagram arrives whole, and the kernel's answer comes at once", async (context) => {
  const path = join(temporaryFolder(context), "socket");
  const receiver = receiveDatagrams(path);
  const datagram = new UnixDatagram(path);
  assert.deepEqual(datagram.send(Buffer.from("one")), { kind: "sent" });
  assert.deepEqual(datagram.send(Buffer.from("two ü")), { kind: "sent" });
  await receiver.count(2);
  assert.deepEqual(receiver.texts, ["one", "two ü"]);
  datagram.close();
  receiver.close();
});

test("a missing socket is told by its reason, and one that comes later is found", async (context) => {
  const path = join(temporaryFolder(context), "socket");
  const datagram = new UnixDatagram(path);
  assert.deepEqual(datagram.send(Buffer.from("early")), {
    kind: "failed",
    reason: "No such file or directory",
  });
  const receiver = receiveDatagrams(path);
  assert.deepEqual(datagram.send(Buffer.from("late")), { kind: "sent" });
  await receiver.count(1);
  receiver.close();
  assert.deepEqual(datagram.send(Buffer.from("gone")), { kind: "failed", reason: "Connection refused" });
  datagram.close();
});

test("a path that no socket can have is told, not thrown", () => {
  const datagram = new UnixDatagram(`/tmp/${"x".repeat(200)}`);
  assert.equal(datagram.send(Buffer.from("text")).kind, "failed");
});

test("a stream socket at the path is told apart", async (context) => {
  const path = join(temporaryFolder(context), "socket");
  const server = createServer().listen(path);
  await once(server, "listening");
  assert.deepEqual(new UnixDatagram(path).send(Buffer.from("text")), { kind: "isStream" });
  server.close();
});

test("K5: a datagram over the socket's limit is told apart, and the socket lives on", async (context) => {
  const path = join(temporaryFolder(context), "socket");
  const receiver = receiveDatagrams(path);
  const datagram = new UnixDatagram(path);
  assert.deepEqual(datagram.send(Buffer.alloc(4_000_000, "x")), { kind: "tooLong" });
  assert.deepEqual(datagram.send(Buffer.from("short")), { kind: "sent" });
  await receiver.count(1);
  datagram.close();
  receiver.close();
});

test("K3: a receiver that does not read is told as full, at once and without burning a processor", async (context) => {
  const path = join(temporaryFolder(context), "socket");
  const end = await bindAndNeverRead(path);
  const datagram = new UnixDatagram(path);
  let sent = 0;
  while (datagram.send(Buffer.from(`line ${sent}`)).kind === "sent") sent++;
  assert.ok(sent > 0 && sent < 100_000, `${sent} datagrams fit`);
  assert.deepEqual(datagram.send(Buffer.from("more")), { kind: "full" });
  // Not waiting for anything: the point is what the processor does while nothing happens.
  const before = process.cpuUsage();
  await sleep(300);
  const used = process.cpuUsage(before);
  assert.ok(used.user + used.system < 250_000, `${used.user + used.system} µs of processor time in 300 ms`);
  datagram.close();
  await end();
});
