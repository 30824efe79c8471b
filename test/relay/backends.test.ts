/** Several backends in order of preference, and the rest of those that failed. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, Socket, type AddressInfo, type Server } from "node:net";
import { test, type TestContext } from "node:test";

import { Backends, type HealthRules, type HealthTurn } from "../../src/relay/backends.ts";
import type { Relayed } from "../../src/relay/relay.ts";
import { DialError, type BackendAddress } from "../../src/relay/dial.ts";

type Tcp = Extract<BackendAddress, { kind: "tcp" }>;

async function listen(
  t: TestContext,
  port = 0,
): Promise<{ address: Tcp; server: Server; connections: () => number }> {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on("error", () => undefined);
    socket.end();
  }).listen(port, "127.0.0.1");
  await once(server, "listening");
  t.after(() => void server.close());
  const address = { kind: "tcp", host: "127.0.0.1", port: (server.address() as AddressInfo).port } as const;
  return { address, server, connections: () => connections };
}

async function deadAddress(t: TestContext): Promise<Tcp> {
  const { address, server } = await listen(t);
  server.close();
  await once(server, "close");
  return address;
}

const within5s = { connectTimeoutMs: 5000 };

async function dialPort(backends: Backends): Promise<number> {
  const { wire, backend } = await backends.dial(within5s);
  wire.destroy();
  return (backend as Tcp).port;
}

test("the first backend is taken while it answers", async (t) => {
  const [first, second] = [await listen(t), await listen(t)];
  const backends = new Backends({ addresses: [first.address, second.address] });
  assert.equal(await dialPort(backends), first.address.port);
  assert.equal(await dialPort(backends), first.address.port);
  assert.equal(second.connections(), 0);
});

test("H1: a refused backend gives way to the next, and what was tried is told", async (t) => {
  const dead = await deadAddress(t);
  const second = await listen(t);
  const backends = new Backends({ addresses: [dead, second.address] });
  const { wire, backend, tried } = await backends.dial(within5s);
  wire.destroy();
  assert.equal(backend, second.address);
  assert.deepEqual(tried, [`127.0.0.1:${dead.port} ECONNREFUSED`]);
});

test("H1: when every backend is refused, the error names all of them", async (t) => {
  const dead = [await deadAddress(t), await deadAddress(t)];
  const backends = new Backends({ addresses: dead });
  await assert.rejects(backends.dial(within5s), (error) => {
    assert.ok(error instanceof DialError);
    assert.equal(error.endCause, "backend_refused");
    assert.deepEqual(
      error.tried,
      dead.map(({ port }) => `127.0.0.1:${port} ECONNREFUSED`),
    );
    return true;
  });
});

test("H8: a failed backend rests, longer each time, and is preferred again once it answers", async (t) => {
  let nowMs = 0;
  const first = await deadAddress(t);
  const second = await listen(t);
  const backends = new Backends({
    addresses: [first, second.address],
    restMs: 1000,
    maxRestMs: 3000,
    now: () => nowMs,
  });
  const rests = (): number => backends.health()[0]?.restsForMs ?? -1;
  assert.equal(await dialPort(backends), second.address.port);
  assert.equal(rests(), 1000);
  nowMs += 999;
  await dialPort(backends);
  assert.equal(rests(), 1); // not tried
  nowMs += 1;
  await dialPort(backends);
  assert.equal(rests(), 2000);
  nowMs += 2000;
  await dialPort(backends);
  assert.equal(rests(), 3000);
  const back = await listen(t, first.port);
  nowMs += 3000;
  assert.equal(await dialPort(backends), back.address.port);
  assert.deepEqual(backends.health()[0], {
    address: first,
    failures: 0,
    restsForMs: 0,
    quickCloses: 0,
    sessions: 1,
  });
});

/** Whether the backend answers each dial, and what its rest is then; time passes until it is over. `told` are its falls and rises. */
const flaps: [because: string, health: HealthRules, answers: string, rests: number[], told: string][] = [
  ["one failure is a fall, one answer a rise", { fall: 1, rise: 1 }, "-+-", [1000, 0, 1000], "-+-"],
  ["less than fall failures in a row are none", { fall: 3, rise: 1 }, "--+--+", [0, 0, 0, 0, 0, 0], ""],
  [
    "the last of them is the fall, each further one a longer rest",
    { fall: 2, rise: 1 },
    "---",
    [0, 1000, 2000],
    "-",
  ],
  ["risen, it has all its failures before it again", { fall: 2, rise: 1 }, "--+-", [0, 1000, 0, 0], "-+"],
  [
    "before it has risen, one failure is a longer rest",
    { fall: 2, rise: 2 },
    "--+-",
    [0, 1000, 0, 2000],
    "-",
  ],
  ["answers count in a row", { fall: 1, rise: 2 }, "-+-+-", [1000, 0, 2000, 0, 3000], "-"],
  ["after rise of them rests begin anew", { fall: 1, rise: 2 }, "-++-", [1000, 0, 0, 1000], "-+-"],
];
for (const [because, health, answers, rests, told] of flaps)
  test(`H8: a flapping backend, fall ${health.fall}, rise ${health.rise}: ${because}`, async (t) => {
    let nowMs = 0;
    const first = await deadAddress(t);
    const second = await listen(t);
    const times = { restMs: 1000, maxRestMs: 3000, now: () => nowMs };
    const backends = new Backends({ addresses: [first, second.address], ...times });
    const turns: HealthTurn[] = [];
    const seen: number[] = [];
    for (const answer of answers) {
      const back = answer === "+" ? await listen(t, first.port) : undefined;
      const { wire, backend } = await backends.dial({
        ...within5s,
        health,
        onTurn: (turn) => turns.push(turn),
      });
      wire.destroy();
      assert.equal(backend, answer === "+" ? first : second.address);
      back?.server.close();
      if (back !== undefined) await once(back.server, "close");
      const rest = backends.health()[0]?.restsForMs ?? -1;
      seen.push(rest);
      nowMs += rest;
    }
    assert.deepEqual(seen, rests);
    assert.deepEqual(turns.map(({ isUp }) => (isUp ? "+" : "-")).join(""), told);
    assert.ok(turns.every(({ backend }) => backend === first));
    const [fall] = turns;
    if (fall === undefined) return;
    const dials = health.fall === 1 ? "a dial" : `${health.fall} dials in a row`;
    const port = `127.0.0.1:${first.port}`;
    const message = `backend ${port} rests for 1 s: ${dials} failed, the last one with ${port} ECONNREFUSED`;
    assert.equal(fall.message, message);
  });

/** A backend by name whose dials end when they are told to: each fails, with what it is called with. */
function heldDials(): {
  readonly resolve: () => Promise<string[]>;
  readonly fail: ((code: string) => void)[];
} {
  const fail: ((code: string) => void)[] = [];
  const resolve = (): Promise<string[]> =>
    new Promise((_, reject) => fail.push((code) => reject(Object.assign(new Error(code), { code }))));
  return { resolve, fail };
}

for (const [fall, failures] of [
  [1, 1],
  [3, 3],
] as const)
  test(`H8: twenty dials that meet the same outage make a backend rest once (fall ${fall})`, async (t) => {
    let nowMs = 0;
    const second = await listen(t);
    const { resolve, fail } = heldDials();
    const slow = { kind: "tcp", host: "slow.example", port: 1 } as const;
    const times = { restMs: 1000, maxRestMs: 60_000, now: () => nowMs };
    const backends = new Backends({ addresses: [slow, second.address], resolve, ...times });
    const turns: HealthTurn[] = [];
    const options = {
      ...within5s,
      health: { fall, rise: 1 },
      onTurn: (turn: HealthTurn) => turns.push(turn),
    };
    const dialAll = (count: number) => Array.from({ length: count }, () => backends.dial(options));
    const dialled = dialAll(20);
    for (const each of fail.splice(0, 10)) each("ETIMEOUT");
    for (const { wire } of await Promise.all(dialled.slice(0, 10))) wire.destroy();
    assert.deepEqual(backends.health()[0], {
      address: slow,
      failures,
      restsForMs: 1000,
      quickCloses: 0,
      sessions: 10,
    });
    nowMs += 1001; // those that took longer, and end when the rest is over
    for (const each of fail.splice(0, 10)) each("ETIMEOUT");
    for (const { wire } of await Promise.all(dialled.slice(10))) wire.destroy();
    assert.deepEqual(backends.health()[0], {
      address: slow,
      failures,
      restsForMs: 0,
      quickCloses: 0,
      sessions: 0,
    });
    assert.equal(turns.length, 1);
    const [trial] = dialAll(1);
    for (const each of fail.splice(0, 1)) each("ETIMEOUT");
    (await trial)?.wire.destroy();
    assert.equal(backends.health()[0]?.restsForMs, 2000);
  });

test("H8: failures of a backend that is tried at rest, since nothing else answers, make no rest longer", async (t) => {
  let nowMs = 0;
  const dead = await deadAddress(t);
  const backends = new Backends({ addresses: [dead], restMs: 1000, now: () => nowMs });
  for (let client = 0; client < 5; client++) await assert.rejects(backends.dial(within5s), DialError);
  assert.deepEqual(backends.health(), [
    { address: dead, failures: 5, restsForMs: 1000, quickCloses: 0, sessions: 0 },
  ]);
  nowMs += 1000;
  await assert.rejects(backends.dial(within5s), DialError);
  assert.equal(backends.health()[0]?.restsForMs, 2000);
});

test("H8: only one connection tries a backend whose rest is over", async (t) => {
  let nowMs = 0;
  let asked = 0;
  const second = await listen(t);
  const resolve = (): Promise<string[]> => {
    asked += 1;
    return asked === 1
      ? Promise.reject(Object.assign(new Error("no"), { code: "ENOTFOUND" }))
      : new Promise(() => {});
  };
  const slow = { kind: "tcp", host: "slow.example", port: 1 } as const;
  const backends = new Backends({
    addresses: [slow, second.address],
    resolve,
    restMs: 1000,
    now: () => nowMs,
  });
  await dialPort(backends);
  nowMs += 1000;
  const trying = backends.dial({ connectTimeoutMs: 400 });
  assert.equal(await dialPort(backends), second.address.port);
  assert.equal(asked, 2);
  const { wire, backend } = await trying;
  wire.destroy();
  assert.equal(backend, second.address);
});

test("backends at rest are tried when nothing else answers", async (t) => {
  const first = await deadAddress(t);
  const backends = new Backends({ addresses: [first, await deadAddress(t)] });
  await assert.rejects(backends.dial(within5s), DialError);
  const back = await listen(t, first.port);
  assert.equal(await dialPort(backends), back.address.port);
});

test("D9: a cancelled dial is not held against the backend, and no other is tried", async (t) => {
  const [first, second] = [await listen(t), await listen(t)];
  const backends = new Backends({ addresses: [first.address, second.address] });
  await assert.rejects(backends.dial({ ...within5s, signal: AbortSignal.abort("client_gone") }), (error) => {
    assert.equal(error instanceof DialError && error.endCause, "client_gone");
    return true;
  });
  assert.equal(backends.health()[0]?.failures, 0);
  assert.equal(first.connections() + second.connections(), 0);
});

test("H11: no local port left is not the backend's fault: it does not rest, and the next is tried", async (t) => {
  const [first, second] = [await listen(t), await listen(t)];
  const backends = new Backends({ addresses: [first.address, second.address] });
  let opened = 0;
  const open = (): Socket => {
    opened += 1;
    if (opened > 1) return new Socket({ allowHalfOpen: true });
    throw Object.assign(new Error("no port"), { code: "EADDRNOTAVAIL" });
  };
  const { wire, backend, tried } = await backends.dial({ ...within5s, open });
  wire.destroy();
  assert.equal(backend, second.address);
  assert.deepEqual(tried, [`127.0.0.1:${first.address.port} EADDRNOTAVAIL`]);
  assert.equal(backends.health()[0]?.restsForMs, 0);
});

test("H7: a backend that is full is passed over, also by dials that are under way at once; an end makes room", async (t) => {
  const [first, second] = [await listen(t), await listen(t)];
  const backends = new Backends({ addresses: [first.address, second.address] });
  const options = { ...within5s, maxPerBackend: 2 };
  const dialled = await Promise.all(Array.from({ length: 4 }, () => backends.dial(options)));
  for (const { wire } of dialled) wire.destroy();
  assert.deepEqual(
    dialled.map(({ backend }) => backend),
    [first.address, first.address, second.address, second.address],
  );
  const full = [first, second].map(({ address: { port } }) => `127.0.0.1:${port} is full`);
  await assert.rejects(backends.dial(options), { endCause: "backend_unreachable", tried: full });
  const closed = { upBytes: 1, downBytes: 1, cause: "client_closed" } as const;
  backends.ended(first.address, closed, { afterMs: 5, hadHeader: false });
  const { wire, backend } = await backends.dial(options);
  wire.destroy();
  assert.equal(backend, first.address);
  assert.deepEqual(
    backends.health().map(({ sessions, failures }) => [sessions, failures]),
    [
      [2, 0],
      [2, 0],
    ],
  );
});

test("H7: a full backend takes no share of the time to connect", async (t) => {
  const [slow, full] = [{ kind: "tcp", host: "slow.example", port: 1 } as const, await listen(t)];
  const resolve = (_name: string, signal: AbortSignal) =>
    new Promise<never>((_resolve, reject) =>
      signal.addEventListener("abort", () => reject(Object.assign(new Error("late"), { code: "ETIMEDOUT" }))),
    );
  const backends = new Backends({ addresses: [full.address, slow], resolve });
  const { wire } = await backends.dial({ ...within5s, maxPerBackend: 1 });
  wire.destroy();
  const beganMs = performance.now();
  await assert.rejects(backends.dial({ connectTimeoutMs: 300, maxPerBackend: 1 }), DialError);
  assert.ok(performance.now() - beganMs >= 290);
});

test("H7: one that was full when the dial began is not tried in a hurry when it is full no more", async (t) => {
  const full = await listen(t);
  const slow = { kind: "tcp", host: "slow.example", port: 1 } as const;
  const { resolve, fail } = heldDials();
  const backends = new Backends({ addresses: [slow, full.address], resolve });
  const load = { upBytes: 1, downBytes: 1, cause: "client_closed" } as const;
  const late = backends.dial({ ...within5s, maxPerBackend: 1 });
  for (const each of fail.splice(0)) each("ETIMEOUT");
  (await late).wire.destroy();
  const hurried = backends.dial({ ...within5s, maxPerBackend: 1 });
  backends.ended(full.address, load, { afterMs: 5, hadHeader: false });
  for (const each of fail.splice(0)) each("ETIMEOUT");
  await assert.rejects(hurried, DialError);
  assert.equal(backends.health()[1]?.failures, 0);
});

test("H7: a dial that fails gives its place back", async (t) => {
  const backends = new Backends({ addresses: [await deadAddress(t)] });
  for (let tries = 0; tries < 3; tries++)
    await assert.rejects(backends.dial({ ...within5s, maxPerBackend: 1 }), { endCause: "backend_refused" });
});

const endings: [because: string, relayed: Omit<Relayed, "upBytes">, afterMs: number, quickCloses: number][] =
  [
    ["closed at once, without a word", { downBytes: 0, cause: "backend_closed" }, 5, 1],
    ["reset at once", { downBytes: 0, cause: "backend_reset" }, 5, 1],
    ["it has said something", { downBytes: 9, cause: "backend_closed" }, 5, 0],
    ["it has listened for a while", { downBytes: 0, cause: "backend_closed" }, 5000, 0],
    ["the client has gone", { downBytes: 0, cause: "client_closed" }, 5, 0],
  ];
for (const [because, relayed, afterMs, quickCloses] of endings) {
  test(`H3: a session that its backend closes at once is counted: ${because}`, () => {
    const address = { kind: "tcp", host: "127.0.0.1", port: 1 } as const;
    const backends = new Backends({ addresses: [address] });
    const end = { upBytes: 0, ...relayed };
    assert.equal(backends.ended(address, end, { afterMs, hadHeader: false }), undefined);
    assert.equal(backends.health()[0]?.quickCloses, quickCloses);
  });
}

test("C5: a backend that ends a session right after a PROXY header, before the client speaks, is doubted once", () => {
  const address = { kind: "tcp", host: "127.0.0.1", port: 3306 } as const;
  const refusing = { upBytes: 0, downBytes: 90, cause: "backend_closed" } as const;
  const how = { afterMs: 3, hadHeader: true };
  const backends = new Backends({ addresses: [address] });
  assert.equal(backends.ended(address, { ...refusing, upBytes: 60 }, how), undefined); // a short session
  assert.equal(backends.ended(address, { ...refusing, cause: "client_closed" }, how), undefined);
  assert.equal(backends.ended(address, refusing, { ...how, hadHeader: false }), undefined);
  assert.equal(backends.ended(address, refusing, { ...how, afterMs: 5000 }), undefined);
  const doubt = backends.ended(address, refusing, how);
  assert.match(
    doubt?.message ?? "",
    /^127\.0\.0\.1:3306 has ended a session 3 ms after our PROXY header, before/,
  );
  assert.match(doubt?.hint ?? "", /proxy-protocol-networks/);
  assert.equal(backends.ended(address, refusing, how), undefined);
});

test("H9: nothing connects to a backend on its own", async (t) => {
  let nowMs = 0;
  const dead = await deadAddress(t);
  const backends = new Backends({ addresses: [dead, dead], restMs: 1, now: () => nowMs });
  await assert.rejects(backends.dial(within5s), DialError);
  const back = await listen(t, dead.port);
  nowMs += 10_000;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(back.connections(), 0);
});
