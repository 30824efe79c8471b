/** UDP services: who is judged when, where datagrams go, and what bounds a session. */

import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { test, type TestContext } from "node:test";

import { UdpRelay, type UdpEndpoint, type UdpRelayOptions } from "../../src/relay/udp.ts";
import type { UdpEnd } from "../../src/relay/udp-session.ts";

interface Lab {
  readonly relay: UdpRelay;
  readonly backend: Socket;
  readonly judged: UdpEndpoint[];
  readonly ends: UdpEnd[];
  readonly client: () => Promise<Socket>;
  readonly ended: () => Promise<void>;
}

async function open(t: TestContext, address = "127.0.0.1"): Promise<Socket> {
  const socket = createSocket("udp4").bind(0, address);
  await once(socket, "listening");
  t.after(() => void socket.close());
  return socket;
}

async function lab(t: TestContext, options: Partial<UdpRelayOptions> = {}): Promise<Lab> {
  const backend = await open(t);
  const judged: UdpEndpoint[] = [];
  const ends: UdpEnd[] = [];
  let told = withResolvers();
  const relay = await UdpRelay.listen({
    listen: { address: "127.0.0.1", port: 0 },
    backend: { address: "127.0.0.1", port: backend.address().port },
    idleMs: 10_000,
    maxSessions: 100,
    maxPerAddress: 10,
    judge: async (client) => {
      judged.push(client);
      return {
        ended: (end) => {
          ends.push(end);
          told.resolve();
          told = withResolvers();
        },
      };
    },
    ...options,
  });
  t.after(() => relay.close());
  return { relay, backend, judged, ends, client: () => open(t), ended: () => told.promise };
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

async function next(socket: Socket): Promise<{ text: string; port: number }> {
  const [datagram, { port }] = (await once(socket, "message")) as [Buffer, UdpEndpoint];
  return { text: datagram.toString("latin1"), port };
}

test("a source is judged once, and its datagrams and the answers keep their borders", async (t) => {
  const { relay, backend, judged, client } = await lab(t);
  const asking = await client();
  for (const word of ["one", "", "three"]) {
    const heard = next(backend);
    asking.send(word, relay.port, "127.0.0.1");
    const { text, port } = await heard;
    assert.equal(text, word);
    const answered = next(asking);
    backend.send(`${word}!`, port, "127.0.0.1");
    assert.deepEqual(await answered, { text: `${word}!`, port: relay.port });
  }
  assert.deepEqual(judged, [{ address: "127.0.0.1", port: asking.address().port }]);
  assert.equal(relay.sessions, 1);
});

test("datagrams that come during the verdict follow it in order", async (t) => {
  const gate = withResolvers();
  const { relay, backend, client } = await lab(t, {
    judge: async () => {
      await gate.promise;
      return { ended: () => undefined };
    },
  });
  const asking = await client();
  for (const word of ["a", "b", "c"]) asking.send(word, relay.port, "127.0.0.1");
  const words: string[] = [];
  backend.on("message", (datagram) => words.push(datagram.toString()));
  setTimeout(gate.resolve, 50);
  while (words.length < 3) await once(backend, "message");
  assert.deepEqual(words, ["a", "b", "c"]);
});

test("a refused source reaches nobody, and is not judged for every datagram", async (t) => {
  let asked = 0;
  const { relay, backend, client } = await lab(t, {
    judge: async () => {
      asked += 1;
      return undefined;
    },
  });
  let heard = 0;
  backend.on("message", () => (heard += 1));
  const asking = await client();
  for (let count = 0; count < 20; count += 1) asking.send("x", relay.port, "127.0.0.1");
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(asked, 1);
  assert.equal(heard, 0);
  assert.equal(relay.sessions, 0);
});

test("a judge that throws refuses", async (t) => {
  const { relay, client } = await lab(t, { judge: () => Promise.reject(new Error("broken")) });
  (await client()).send("x", relay.port, "127.0.0.1");
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(relay.sessions, 0);
});

test("a session follows the first answer's port, and nothing from elsewhere passes", async (t) => {
  const { relay, backend, client } = await lab(t);
  const asking = await client();
  const heard = next(backend);
  asking.send("request", relay.port, "127.0.0.1");
  const { port } = await heard;
  const transfer = await open(t);
  const stranger = await open(t, "127.0.0.2");
  const answers: string[] = [];
  asking.on("message", (datagram) => answers.push(datagram.toString()));
  stranger.send("not the backend", port, "127.0.0.1");
  await new Promise((resolve) => setTimeout(resolve, 20));
  transfer.send("data 1", port, "127.0.0.1");
  await once(asking, "message");
  backend.send("too late", port, "127.0.0.1");
  const acknowledged = next(transfer);
  asking.send("ack 1", relay.port, "127.0.0.1");
  assert.equal((await acknowledged).text, "ack 1");
  transfer.send("data 2", port, "127.0.0.1");
  await once(asking, "message");
  assert.deepEqual(answers, ["data 1", "data 2"]);
});

test("a TFTP request from a port whose transfer has moved is judged anew and goes to the service's port", async (t) => {
  const { relay, backend, judged, ends, client } = await lab(t);
  const asking = await client();
  const request = Buffer.from("\0\x01file\0octet\0", "latin1");
  let heard = next(backend);
  asking.send(request, relay.port, "127.0.0.1");
  const first = await heard;
  const transfer = await open(t);
  transfer.send("\0\x03\0\x01data", first.port, "127.0.0.1");
  await once(asking, "message");
  heard = next(backend);
  asking.send(request, relay.port, "127.0.0.1");
  const second = await heard;
  assert.notEqual(second.port, first.port);
  assert.equal(judged.length, 2);
  assert.deepEqual(ends, [{ upBytes: request.length, downBytes: 8, cause: "client_closed" }]);
  assert.equal(relay.sessions, 1);
});

test("a session ends by its idle time, with its totals, and the next datagram is judged anew", async (t) => {
  const { relay, backend, judged, ends, client, ended } = await lab(t, { idleMs: 100 });
  const asking = await client();
  const heard = next(backend);
  const over = ended();
  asking.send("12345", relay.port, "127.0.0.1");
  backend.send("123", (await heard).port, "127.0.0.1");
  await over;
  assert.deepEqual(ends, [{ upBytes: 5, downBytes: 3, cause: "idle_timeout" }]);
  assert.equal(relay.sessions, 0);
  const again = next(backend);
  asking.send("x", relay.port, "127.0.0.1");
  await again;
  assert.equal(judged.length, 2);
});

test("sessions are bounded for an address and in all; what is over is dropped and counted", async (t) => {
  const { relay, judged, client } = await lab(t, { maxPerAddress: 3, maxSessions: 5 });
  for (let count = 0; count < 5; count += 1) (await client()).send("x", relay.port, "127.0.0.1");
  while (relay.sessions < 3) await new Promise((resolve) => setImmediate(resolve));
  for (let count = 2; count < 7; count += 1) {
    (await open(t, `127.0.0.${count}`)).send("x", relay.port, "127.0.0.1");
  }
  while (judged.length + relay.dropped < 10) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(judged.length, 5);
  assert.equal(relay.dropped, 5);
});

test("closing ends every session with its cause", async (t) => {
  const { relay, backend, ends, client } = await lab(t);
  const own = relay;
  const heard = next(backend);
  (await client()).send("x", own.port, "127.0.0.1");
  await heard;
  const second = await UdpRelay.listen({
    listen: { address: "127.0.0.1", port: 0 },
    backend: { address: "127.0.0.1", port: backend.address().port },
    idleMs: 0,
    maxSessions: 1,
    maxPerAddress: 1,
    judge: async () => ({ ended: (end) => void ends.push(end) }),
  });
  const heardAgain = next(backend);
  (await client()).send("four", second.port, "127.0.0.1");
  await heardAgain;
  await second.close("drain");
  assert.deepEqual(ends, [{ upBytes: 4, downBytes: 0, cause: "drain" }]);
});
