import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { rmSync } from "node:fs";
import type { AddressInfo, Server, Socket } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";

import { openStreamSyslog, openUdpSyslog, openUnixSyslog } from "../../src/platform/syslog-outlets.ts";
import { bindAndNeverRead, receiveDatagrams, temporaryFolder } from "../support/unix-receiver.ts";

/** A stream receiver that collects text; `until` resolves when the text has come. */
function collect(server: Server): { until(text: string): Promise<void>; sockets: Set<Socket> } {
  let all = "";
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      all += bytes.toString();
      server.emit("text");
    });
  });
  return {
    sockets,
    async until(text) {
      const signal = AbortSignal.timeout(5000);
      while (all !== text) await once(server, "text", { signal });
    },
  };
}

test("K2: the local socket may be missing, come, go and come again", async (context) => {
  const path = join(temporaryFolder(context), "log");
  const outlet = openUnixSyslog(path);
  await assert.rejects(outlet.send(["<30>x: early"]), { message: "No such file or directory" });
  let receiver = receiveDatagrams(path);
  assert.equal(await outlet.send(["<30>x: one", "<30>x: two"]), 2);
  await receiver.count(2);
  receiver.close();
  await assert.rejects(outlet.send(["<30>x: lost"]), { message: "Connection refused" });
  receiver = receiveDatagrams(path);
  assert.equal(await outlet.send(["<30>x: three"]), 1);
  await receiver.count(1);
  assert.deepEqual(receiver.texts, ["<30>x: three"]);
  outlet.close();
  receiver.close();
  await assert.rejects(outlet.send(["<30>x: late"]), { message: "closed" });
});

test("K3: a receiver that stops reading takes what fits and then nothing, without waiting", async (context) => {
  const path = join(temporaryFolder(context), "log");
  const end = await bindAndNeverRead(path);
  const outlet = openUnixSyslog(path);
  const lines = Array.from({ length: 100_000 }, (_, number) => `<30>x: ${number}`);
  const taken = await outlet.send(lines);
  assert.ok(taken > 0 && taken < lines.length, `${taken} taken`);
  assert.equal(await outlet.send(lines.slice(taken)), 0);
  outlet.close();
  await end();
});

test("K5: a line over the socket's limit arrives shortened and marked", async (context) => {
  const path = join(temporaryFolder(context), "log");
  const receiver = receiveDatagrams(path);
  const outlet = openUnixSyslog(path);
  assert.equal(await outlet.send([`<30>x: ${"field ".repeat(100_000)}`]), 1);
  await receiver.count(1);
  const [text = ""] = receiver.texts;
  assert.match(text, /^<30>x: (field )+field \[shortened\]$/);
  assert.ok(text.length <= 8192, `${text.length} bytes`);
  outlet.close();
  receiver.close();
});

test("K2: a local socket of the stream kind is served too, goes and comes, and may turn into a datagram one", async (context) => {
  const path = join(temporaryFolder(context), "log");
  const outlet = openUnixSyslog(path);
  let server = createServer().listen(path);
  let received = collect(server);
  await once(server, "listening");
  // The first datagram finds the stream out; nothing is taken, and the same lines go over the stream.
  assert.equal(await outlet.send(["<30>x: one"]), 0);
  assert.equal(await outlet.send(["<30>x: one", "<30>x: two"]), 2);
  await received.until("<30>x: one\0<30>x: two\0");
  for (const socket of received.sockets) socket.destroy();
  server.close();
  await once(server, "close");
  rmSync(path, { force: true });

  // Whether the first write after the loss meets a dead connection or finds it closed already is a race; both end in a rejection soon.
  for (let tries = 0; tries < 100; tries++) {
    const failed = await outlet.send(["<30>x: lost"]).then(
      () => false,
      () => true,
    );
    if (failed) break;
  }
  const datagrams = receiveDatagrams(path);
  assert.equal(await outlet.send(["<30>x: three"]), 1);
  await datagrams.count(1);
  datagrams.close();
  rmSync(path, { force: true });

  server = createServer().listen(path);
  received = collect(server);
  await once(server, "listening");
  assert.equal(await outlet.send(["<30>x: four"]), 0);
  assert.equal(await outlet.send(["<30>x: four"]), 1);
  await received.until("<30>x: four\0");
  outlet.close();
  server.close();
});

for (const [family, host] of [
  ["udp4", "127.0.0.1"],
  ["udp6", "::1"],
] as const) {
  test(`one datagram a line over ${family}`, async () => {
    const receiver = createSocket(family);
    receiver.bind(0, host);
    await once(receiver, "listening");
    const texts: string[] = [];
    receiver.on("message", (bytes) => texts.push(bytes.toString()));
    const outlet = openUdpSyslog(host, receiver.address().port);
    assert.equal(await outlet.send(["<30>one", "<30>two"]), 2);
    while (texts.length < 2) await once(receiver, "message");
    assert.deepEqual(texts, ["<30>one", "<30>two"]);
    outlet.close();
    receiver.close();
  });
}

test("a UDP receiver that is away and comes back gets the later lines; nothing throws", async () => {
  const probe = createSocket("udp4").bind(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  const outlet = openUdpSyslog("127.0.0.1", port);
  for (let count = 0; count < 5; count++) await outlet.send([`<30>lost ${count}`]).catch(() => undefined);
  const receiver = createSocket("udp4").bind(port, "127.0.0.1");
  await once(receiver, "listening");
  const arrived = once(receiver, "message");
  let text = "";
  void arrived.then(([bytes]) => (text = String(bytes)));
  while (text === "") {
    await outlet.send(["<30>back"]).catch(() => undefined);
    await new Promise(setImmediate);
  }
  assert.equal(text, "<30>back");
  outlet.close();
  receiver.close();
});

test("a host name that does not exist rejects and is asked for again", async () => {
  const outlet = openUdpSyslog("no-such-host.invalid", 514);
  await assert.rejects(outlet.send(["<30>x"]));
  await assert.rejects(outlet.send(["<30>x"]));
  outlet.close();
});

const framings: [framing: "newline" | "octet-counting", text: string][] = [
  ["newline", "<30>one\n<30>two\n"],
  ["octet-counting", "7 <30>one7 <30>two"],
];
for (const [framing, text] of framings) {
  test(`TCP with ${framing} frames two lines so that the receiver can tell them apart`, async () => {
    const server = createServer().listen(0, "127.0.0.1");
    const received = collect(server);
    await once(server, "listening");
    const outlet = openStreamSyslog(
      { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
      framing,
    );
    assert.equal(await outlet.send(["<30>one", "<30>two"]), 2);
    await received.until(text);
    outlet.close();
    server.close();
    await once(server, "close");
  });
}

test("K3: a TCP receiver that never reads holds up its own send only, which ends with the outlet", async () => {
  const server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  const sockets: Socket[] = [];
  server.on("connection", (socket) => {
    socket.on("error", () => undefined);
    sockets.push(socket);
  });
  await once(server, "listening");
  const outlet = openStreamSyslog(
    { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
    "newline",
  );
  const lines = Array.from({ length: 1000 }, () => "x".repeat(64 * 1024));
  const sending = outlet.send(lines);
  sending.catch(() => undefined);
  // Another send would be answered only after this one, so the one thing to see is that closing ends it.
  if (sockets.length === 0) await once(server, "connection");
  outlet.close();
  await assert.rejects(sending);
  for (const socket of sockets) socket.destroy();
  server.close();
});
