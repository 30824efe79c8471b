/** UDP services: who is judged when, where datagrams go, and what bounds a session. */

import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { test, type TestContext } from "node:test";

import { bindSocket } from "../../src/platform/bound-sockets.ts";
import { type UdpArrival, UdpListener, type UdpListenerOptions } from "../../src/relay/udp.ts";
import { type UdpEnd, type UdpEndpoint, UdpSession } from "../../src/relay/udp-session.ts";

interface Lab {
  readonly listener: UdpListener;
  readonly port: number;
  readonly backend: Socket;
  readonly judged: UdpEndpoint[];
  readonly ends: UdpEnd[];
  readonly cut: AbortController;
  readonly client: () => Promise<Socket>;
  readonly ended: () => Promise<void>;
  /** Joins a client to the backend, as `serve` does if nothing else is asked for. */
  readonly join: (arrival: UdpArrival) => Promise<void>;
}

async function open(t: TestContext, address = "127.0.0.1"): Promise<Socket> {
  const socket = createSocket("udp4").bind(0, address);
  await once(socket, "listening");
  t.after(() => void socket.close());
  return socket;
}

async function lab(
  t: TestContext,
  options: { idleMs?: number; serve?: (arrival: UdpArrival, lab: Lab) => Promise<void> } & Partial<
    Pick<UdpListenerOptions, "onDropped">
  > = {},
): Promise<Lab> {
  const backend = await open(t);
  const bound = bindSocket({ kind: "udp", host: "127.0.0.1", port: 0, isIpv6: false, isIpv6Only: false });
  const port = bound.address?.port ?? 0;
  const judged: UdpEndpoint[] = [];
  const ends: UdpEnd[] = [];
  const cut = new AbortController();
  let told = withResolvers();
  const join = async (arrival: UdpArrival): Promise<void> => {
    ends.push(
      await arrival.join({
        backend: { address: "127.0.0.1", port: backend.address().port },
        idleMs: options.idleMs ?? 10_000,
        signal: cut.signal,
      }),
    );
    told.resolve();
    told = withResolvers();
  };
  const listener = await UdpListener.open({
    descriptor: bound.descriptor,
    server: { address: "127.0.0.1", port },
    serve: async (arrival) => {
      judged.push(arrival.client);
      await (options.serve === undefined ? join(arrival) : options.serve(arrival, made));
    },
    ...(options.onDropped && { onDropped: options.onDropped }),
  });
  const made: Lab = {
    listener,
    port,
    backend,
    judged,
    ends,
    cut,
    client: () => open(t),
    ended: () => told.promise,
    join,
  };
  t.after(() => {
    listener.close();
    cut.abort("drain");
  });
  return made;
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
  const { listener, port: ownPort, backend, judged, client } = await lab(t);
  const asking = await client();
  for (const word of ["one", "", "three"]) {
    const heard = next(backend);
    asking.send(word, ownPort, "127.0.0.1");
    const { text, port } = await heard;
    assert.equal(text, word);
    const answered = next(asking);
    backend.send(`${word}!`, port, "127.0.0.1");
    assert.deepEqual(await answered, { text: `${word}!`, port: ownPort });
  }
  assert.deepEqual(judged, [{ address: "127.0.0.1", port: asking.address().port }]);
  assert.equal(listener.sessions, 1);
});

test("datagrams that come during the verdict follow it in order, a few of them; the rest is dropped and told", async (t) => {
  const gate = withResolvers();
  let dropped = 0;
  const { port, backend, client } = await lab(t, {
    serve: async (arrival, { join }) => {
      await gate.promise;
      await join(arrival);
    },
    onDropped: () => {
      dropped += 1;
      if (dropped === 4) gate.resolve();
    },
  });
  const asking = await client();
  for (let count = 0; count < 20; count += 1) asking.send(String(count), port, "127.0.0.1");
  const words: string[] = [];
  backend.on("message", (datagram) => words.push(datagram.toString()));
  while (words.length < 16) await once(backend, "message");
  assert.deepEqual(
    words,
    Array.from({ length: 16 }, (_, count) => String(count)),
  );
  assert.equal(dropped, 4);
});

test("E5: a refused client reaches nobody, hears nothing, and is not judged for every datagram", async (t) => {
  let heard = 0;
  const { port, listener, backend, judged, client } = await lab(t, { serve: async () => undefined });
  backend.on("message", () => (heard += 1));
  const asking = await client();
  asking.on("message", () => (heard += 1));
  for (let count = 0; count < 20; count += 1) asking.send("x", port, "127.0.0.1");
  // Another client comes behind them all.
  const other = await client();
  other.send("y", port, "127.0.0.1");
  while (judged.length < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    judged.map(({ port }) => port),
    [asking.address().port, other.address().port],
  );
  assert.equal(heard, 0);
  assert.equal(listener.sessions, 0);
});

test("a session follows the first answer's port, and nothing from elsewhere passes", async (t) => {
  const { port: ownPort, backend, client } = await lab(t);
  const asking = await client();
  const heard = next(backend);
  asking.send("request", ownPort, "127.0.0.1");
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
  asking.send("ack 1", ownPort, "127.0.0.1");
  assert.equal((await acknowledged).text, "ack 1");
  transfer.send("data 2", port, "127.0.0.1");
  await once(asking, "message");
  assert.deepEqual(answers, ["data 1", "data 2"]);
});

test("a TFTP request from a port whose transfer has moved is judged anew and goes to the service's port", async (t) => {
  const { port, listener, backend, judged, ends, client } = await lab(t);
  const asking = await client();
  const request = Buffer.from("\0\x01file\0octet\0", "latin1");
  let heard = next(backend);
  asking.send(request, port, "127.0.0.1");
  const first = await heard;
  const transfer = await open(t);
  transfer.send("\0\x03\0\x01data", first.port, "127.0.0.1");
  await once(asking, "message");
  heard = next(backend);
  asking.send(request, port, "127.0.0.1");
  const second = await heard;
  assert.notEqual(second.port, first.port);
  assert.equal(judged.length, 2);
  assert.deepEqual(ends, [{ upBytes: request.length, downBytes: 8, cause: "client_closed" }]);
  assert.equal(listener.sessions, 1);
});

test("a session ends by its idle time, with its totals, and the next datagram is judged anew", async (t) => {
  const { port, listener, backend, judged, ends, client, ended } = await lab(t, { idleMs: 100 });
  const asking = await client();
  const heard = next(backend);
  const over = ended();
  asking.send("12345", port, "127.0.0.1");
  backend.send("123", (await heard).port, "127.0.0.1");
  await over;
  assert.deepEqual(ends, [{ upBytes: 5, downBytes: 3, cause: "idle_timeout" }]);
  assert.equal(listener.sessions, 0);
  const again = next(backend);
  asking.send("x", port, "127.0.0.1");
  await again;
  assert.equal(judged.length, 2);
});

test("L8: clients without a verdict are bounded, however many addresses a flood has; sessions go on", async (t) => {
  let dropped = 0;
  let isFlood = false;
  const { port, backend, judged, client } = await lab(t, {
    serve: async (arrival, { join, cut }) => {
      if (!isFlood) return await join(arrival);
      await once(cut.signal, "abort");
    },
    onDropped: () => (dropped += 1),
  });
  const asking = await client();
  let heard = next(backend);
  asking.send("before", port, "127.0.0.1");
  await heard;
  isFlood = true;
  const flooding = await client();
  // Ports of one socket cannot be forged, so the addresses are: 127.0.0.0/8 is all ours.
  const forged = await Promise.all(
    Array.from({ length: 1100 }, (_, n) => open(t, `127.1.${n >> 8}.${n & 255}`)),
  );
  for (const socket of forged) {
    socket.send("x", port, "127.0.0.1");
    await new Promise((resolve) => setImmediate(resolve));
  }
  flooding.send("one more", port, "127.0.0.1");
  while (judged.length - 1 + dropped < 1101) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(judged.length - 1, 1024);
  assert.equal(dropped, 77);
  heard = next(backend);
  asking.send("still", port, "127.0.0.1");
  assert.equal((await heard).text, "still");
});

test("an aborted signal ends a session with its cause", async (t) => {
  const { port, backend, ends, cut, client, ended } = await lab(t);
  const heard = next(backend);
  (await client()).send("four", port, "127.0.0.1");
  await heard;
  const over = ended();
  cut.abort("kicked");
  await over;
  assert.deepEqual(ends, [{ upBytes: 4, downBytes: 0, cause: "kicked" }]);
});

test("a listener that closes lets nobody new in, and serves the sessions that are open", async (t) => {
  const { port, listener, backend, judged, client } = await lab(t);
  const asking = await client();
  let heard = next(backend);
  asking.send("one", port, "127.0.0.1");
  await heard;
  listener.close();
  (await client()).send("too late", port, "127.0.0.1");
  heard = next(backend);
  asking.send("two", port, "127.0.0.1");
  const { text, port: from } = await heard;
  assert.equal(text, "two");
  const answered = next(asking);
  backend.send("answer", from, "127.0.0.1");
  assert.deepEqual(await answered, { text: "answer", port });
  assert.equal(judged.length, 1);
});

for (const [isSent, downBytes] of [
  [true, 6],
  [false, 0],
] as const)
  test(`bytes of an answer that is ${isSent ? "sent" : "dropped"} on the way to the client are ${isSent ? "" : "not "}counted`, async (t) => {
    const backend = await open(t);
    const heard = next(backend);
    let answered = (): void => {};
    const answering = new Promise<void>((resolve) => (answered = resolve));
    const ends: UdpEnd[] = [];
    const session = new UdpSession({
      backend: { address: "127.0.0.1", port: backend.address().port },
      idleMs: 60_000,
      answer: () => {
        answered();
        return isSent;
      },
      ended: (end) => ends.push(end),
    });
    session.send(Buffer.from("question"));
    backend.send("answer", (await heard).port, "127.0.0.1");
    await answering;
    session.close("kicked");
    assert.deepEqual(ends, [{ upBytes: 8, downBytes, cause: "kicked" }]);
  });
