/** What the whole daemon must survive: throws, strange clients, few descriptors; each by both relays where bytes move. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { control } from "../support/control.ts";
import { type LogLine, RunningDaemon } from "../support/daemon.ts";
import { startDns } from "../support/dns-server.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";
import { freePort } from "../support/program.ts";

const relays = ["fast", "reference"] as const;

const service = (relay: string, more: string): string =>
  `names: {reverse: never}\nrelay: ${relay}\nservices: {sshd: {listen: ["127.0.0.1:0"], ${more}}}\n`;

/** Becomes the daemon, with a low limit of open files. */
const fewFiles = ["/bin/sh", "-c", 'ulimit -n 256; exec "$0" "$@"'];

function count(daemon: RunningDaemon, event: string): number {
  return daemon.records.filter((record) => record.event === event).length;
}

/** Every connection has one record when it was decided and one when it ended; a refusal is both. */
function assertWholeRecords(daemon: RunningDaemon, connections: number): void {
  const ids = (...events: string[]): (string | undefined)[] =>
    daemon.records.filter(({ event }) => events.includes(event)).map(({ id }) => id);
  assert.equal(new Set(ids("accept", "twist", "refuse")).size, connections);
  assert.equal(ids("accept", "twist", "refuse").length, connections);
  assert.equal(ids("end").length, ids("accept", "twist").length);
  assert.deepEqual(new Set(ids("end")), new Set(ids("accept", "twist")));
}

for (const relay of relays) {
  test(`H7: maxConnections and maxPerBackend are given back on every way to end, by the ${relay} relay`, async (t) => {
    // What the client says is what the backend does.
    const backend = await startBackend(t, (socket) => {
      socket.once("data", (chunk: Buffer) => {
        if (chunk.toString() === "reset") socket.resetAndDestroy();
        else if (chunk.toString() === "close") socket.end();
        else socket.write("here");
      });
      socket.on("end", () => socket.end());
    });
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: service(
        relay,
        `backend: "${backend.address}", maxConnections: 1, maxPerBackend: 1, idleTimeout: 400ms`,
      ).replace(
        "services: {",
        'services: {gone: {listen: ["127.0.0.1:0"], backend: "127.0.0.1:1", maxConnections: 1, maxPerBackend: 1}, ',
      ),
      allow: "sshd: 127.0.0.67: twist /bin/echo twisted\nsshd: 127.0.0.68: aclexec /bin/false\n",
      deny: "sshd: 127.0.0.66\n",
    });
    const port = daemon.port("sshd");
    const gone = daemon.port("gone");
    const said = async (word: string): Promise<Socket> => {
      const socket = await open(t, port);
      socket.write(word);
      return socket;
    };
    const ways: [cause: string, end: () => Promise<unknown>][] = [
      ["client_closed", () => talk(port, { say: "hello" })],
      ["client_reset", async () => (await served(await said("hello"))).resetAndDestroy()],
      ["backend_reset", () => said("reset")],
      ["backend_closed", async () => once((await said("close")).resume(), "end")],
      ["idle_timeout", () => said("hello")],
      ["kicked", async () => await kick(daemon, await said("hello"))],
      ["handed_over", () => talk(port, { from: "127.0.0.67" })],
      ["rule", () => talk(port, { from: "127.0.0.66", isHalfClosed: false })],
      ["rule", () => talk(port, { from: "127.0.0.68", isHalfClosed: false })],
      ["backend_refused", () => talk(gone, { isHalfClosed: false })],
      ["backend_refused", () => talk(gone, { isHalfClosed: false })],
    ];
    for (const [cause, end] of ways) {
      const before = new Set(daemon.records);
      await end();
      await daemon.find((record) => !before.has(record) && (record.cause ?? record.reason) === cause);
    }
    assert.deepEqual(await talk(port, { say: "last" }), { text: "here", end: "end" });
    await daemon.find(() => count(daemon, "end") + count(daemon, "refuse") === ways.length + 1);
    assert.equal(daemon.records.filter(({ reason }) => reason === "limit").length, 0);
    assertWholeRecords(daemon, ways.length + 1);
  });

  test(`D16: the record of an end has the addresses that were there at accept, by the ${relay} relay`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: service(relay, `backend: "${backend.address}"`),
      allow: "",
      deny: "",
    });
    const ports: (number | undefined)[] = [];
    for (const end of [(socket: Socket) => socket.end(), (socket: Socket) => socket.resetAndDestroy()]) {
      const socket = await open(t, daemon.port("sshd"));
      assert.equal(await ask(socket, "hello"), "hello");
      ports.push(socket.localPort);
      end(socket);
    }
    await daemon.find(() => count(daemon, "end") === 2);
    const places = (event: string) =>
      daemon.records
        .filter((record) => record.event === event)
        .map(({ id, client, server }) => ({ id, client, server }))
        .toSorted(byId);
    assert.deepEqual(places("end"), places("accept").toSorted(byId));
    assert.deepEqual(
      places("end").map(({ client }) => client),
      ports.map((port) => ({ address: "127.0.0.1", port })),
    );
  });
}

function byId(one: { id: string | undefined }, other: { id: string | undefined }): number {
  return (one.id ?? "").localeCompare(other.id ?? "");
}

/** The client after its first answer. */
async function served(socket: Socket): Promise<Socket> {
  await once(socket, "data");
  return socket;
}

async function kick(daemon: RunningDaemon, { localPort }: Socket): Promise<void> {
  const { id } = await daemon.find(({ event, client }) => event === "accept" && client?.port === localPort);
  assert.equal((await control(daemon, "DELETE", `/v1/sessions/${id}`)).status, 200);
}

for (const workers of [0, 1]) {
  test(`D17: an error that nobody catches is told and counted, and open sessions go on (${workers} workers)`, async (t) => {
    const backend = await startBackend(t);
    // Planted where no code of ours is: in a signal handler.
    const plant = "process.on('SIGUSR2', () => { throw new Error('planted') })";
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: `${service("auto", `backend: "${backend.address}"`)}process: {workers: ${workers}}\n`,
      allow: "",
      deny: "",
      environment: { NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(plant)}"` },
    });
    const session = await open(t, daemon.port("sshd"));
    assert.equal(await ask(session, "before"), "before");
    const [pid = 0] = daemon.workers();
    for (const number of [1, 2]) {
      process.kill(pid, "SIGUSR2");
      const told = await daemon.find(
        ({ message }) => typeof message === "string" && message.startsWith(`error number ${number} `),
      );
      assert.deepEqual([told["code"], told.level], ["uncaught", "error"]);
      assert.match(String(told["message"]), /Error: planted/);
    }
    assert.equal(await ask(session, "after"), "after");
    assert.equal((await talk(daemon.port("sshd"), { say: "next" })).text, "next");
    assert.deepEqual(daemon.workers(), [pid]);
  });
}

test("C5: a backend that takes a PROXY header for nonsense is named in the log, with what to write", async (t) => {
  const backend = await startBackend(t, (socket) => {
    socket.write("SSH-2.0-test\r\n");
    socket.once("data", () => socket.end("Invalid SSH identification string.\r\n"));
  });
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service("auto", `backend: "${backend.address}", proxyProtocol: {send: v1}`),
    allow: "",
    deny: "",
  });
  for (let round = 0; round < 3; round += 1) await talk(daemon.port("sshd"), { isHalfClosed: false });
  const doubt = await daemon.find(({ code }) => code === "proxy-unexpected");
  assert.match(String(doubt["hint"]), /leave "send" out/);
  await daemon.find(() => count(daemon, "end") === 3);
  assert.equal(daemon.records.filter(({ code }) => code === "proxy-unexpected").length, 1);
});

/** The answer of every client that comes is "reset", "silence", or what it was told. */
async function flood(t: TestContext, port: number, clients: number, from: string): Promise<Socket[]> {
  const sockets = Array.from({ length: clients }, () => {
    const socket = connect({ port, host: "127.0.0.1", localAddress: from });
    socket.on("error", () => undefined);
    t.after(() => socket.destroy());
    return socket;
  });
  await Promise.all(
    sockets.map(
      (socket) => new Promise<void>((done) => socket.once("connect", done).once("close", () => done())),
    ),
  );
  return sockets;
}

for (const refuse of ["hold", "close"]) {
  test(`I7, E3: with 256 descriptors, 600 refused clients (${refuse}) keep no allowed client out`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: service("auto", `backend: "${backend.address}", refuse: ${refuse}`),
      allow: "sshd: 127.0.0.1\n",
      deny: "ALL: ALL\n",
      before: fewFiles,
    });
    const port = daemon.port("sshd");
    const session = await open(t, port);
    assert.equal(await ask(session, "before"), "before");
    await flood(t, port, 600, "127.0.0.66");
    await daemon.find(() => count(daemon, "refuse") === 600);
    for (let client = 0; client < 20; client += 1)
      assert.equal((await talk(port, { say: "in" })).text, "in", `client ${client}`);
    assert.equal(await ask(session, "after"), "after");
  });
}

test("E3: of 5000 refused clients a thousand are held at most, and they keep no allowed client out", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service("auto", `backend: "${backend.address}", refuse: hold`),
    allow: "sshd: 127.0.0.1\n",
    deny: "ALL: ALL\n",
  });
  const port = daemon.port("sshd");
  const refused: Socket[] = [];
  const ended = (): number => refused.filter(({ closed }) => closed).length;
  for (let round = 0; round < 10; round += 1) refused.push(...(await flood(t, port, 500, "127.0.0.66")));
  await daemon.find(() => count(daemon, "refuse") === 5000);
  for (let client = 0; client < 20; client += 1)
    assert.equal((await talk(port, { say: "in" })).text, "in", `client ${client}`);
  // Those beyond the first thousand are reset at once; of the thousand each has its time.
  while (ended() < 4000) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(backend.connections, 20);
});

for (const relay of relays) {
  test(`I7: with 256 descriptors, 600 silent clients are served or reset, each with its records, by the ${relay} relay`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: service(relay, `backend: "${backend.address}"`),
      allow: "",
      deny: "",
      before: fewFiles,
    });
    const port = daemon.port("sshd");
    assert.equal((await talk(port, { say: "warm" })).text, "warm");
    await daemon.find(() => count(daemon, "end") === 1);
    const before = daemon.servingDescriptors();
    const sockets = await flood(t, port, 600, "127.0.0.1");
    await daemon.find(() => count(daemon, "accept") + count(daemon, "refuse") === 601);
    const limited = daemon.records.filter(({ reason }) => reason === "limit").length;
    assert.ok(limited > 400 && limited < 600, `${limited} over the limit`);
    for (const socket of sockets) socket.destroy();
    await daemon.find(() => count(daemon, "end") + count(daemon, "refuse") === 601);
    const causes = new Set(daemon.records.flatMap(({ cause }: LogLine) => cause ?? []));
    assert.deepEqual([...causes], ["client_closed"]);
    assertWholeRecords(daemon, 601);
    assert.equal(daemon.servingDescriptors(), before);
    assert.equal((await talk(port, { say: "again" })).text, "again");
  });
}

for (const refuse of ["reset", "close"]) {
  test(`E1, E2: refuse: ${refuse} takes the same time whether or not the client has spoken`, async (t) => {
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: service("auto", `backend: "127.0.0.1:1", refuse: ${refuse}`),
      deny: "ALL: ALL\n",
    });
    const port = daemon.port("sshd");
    const medians: number[] = [];
    for (const say of ["", "GET / HTTP/1.0\r\n\r\n"]) {
      const times: number[] = [];
      for (let round = 0; round < 30; round += 1) {
        const startedMs = performance.now();
        const { end } = await talk(port, { say, isHalfClosed: false });
        times.push(performance.now() - startedMs);
        assert.equal(end, refuse === "reset" ? "ECONNRESET" : "end");
      }
      medians.push(times.toSorted((one, other) => one - other)[15] ?? 0);
    }
    const [silent = 0, spoken = 0] = medians;
    assert.ok(Math.abs(silent - spoken) < 30, `${silent} ms and ${spoken} ms`);
  });
}

for (const refuse of ["reset", "close"]) {
  test(`E6: refuseAfter: an unknown and a bad name wait as long, and then ${refuse}`, async (t) => {
    const dns = await startDns(({ name, type }) => {
      if (name === "66.0.0.127.in-addr.arpa") return { rcode: 3 };
      if (type === "PTR") return { records: [{ type: "PTR", data: "bad.test" }] };
      return { records: type === "A" ? [{ type: "A", data: "192.0.2.1" }] : [], delayMs: 100 };
    });
    t.after(() => dns.close());
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: `names: {reverse: needed, servers: ["${dns.address}"], hostsFile: /dev/null}
services: {sshd: {listen: ["127.0.0.1:0"], backend: "127.0.0.1:1", refuse: ${refuse}, refuseAfter: 500ms}}\n`,
      deny: "sshd: PARANOID\nsshd: UNKNOWN\n",
    });
    for (const from of ["127.0.0.66", "127.0.0.67"]) {
      const startedMs = performance.now();
      const { end } = await talk(daemon.port("sshd"), { from, isHalfClosed: false });
      assert.ok(performance.now() - startedMs > 490, from);
      assert.equal(end, refuse === "reset" ? "ECONNRESET" : "end");
    }
    const lines = daemon.records.flatMap(({ event, rule }) => (event === "refuse" ? rule?.line : []));
    assert.deepEqual(lines, [2, 1]);
  });
}

test("E6: a client that waits for its refusal has its record, keeps nobody out, and is reset at the last stop", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service("auto", `backend: "${backend.address}", refuseAfter: 1h, maxConnections: 1`),
    allow: "sshd: 127.0.0.1\n",
    deny: "ALL: ALL\n",
  });
  const refused = talk(daemon.port("sshd"), { from: "127.0.0.66" });
  await daemon.find(({ event }) => event === "refuse");
  assert.equal((await talk(daemon.port("sshd"), { say: "in" })).text, "in");
  daemon.process.kill("SIGTERM");
  await daemon.find(({ event }) => event === "draining");
  daemon.process.kill("SIGTERM");
  assert.deepEqual(await refused, { text: "", end: "ECONNRESET" });
  assert.equal(backend.connections, 1);
});

/** Fewer for a slow machine: REFUSED=1000 npm run test:one test/daemon/hard-cases.test.ts */
const refusals = Number(process.env["REFUSED"] ?? 10_000);

test(`E5: of ${refusals} refused clients not one reaches the backend`, async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    deny: "ALL: ALL\n",
  });
  for (let left = refusals; left > 0; left -= 50)
    await Promise.all(
      Array.from({ length: Math.min(50, left) }, () => talk(daemon.port("sshd"), { isHalfClosed: false })),
    );
  await daemon.find(() => count(daemon, "refuse") === refusals);
  assert.equal(backend.connections, 0);
});

test("E4: while tables are edited and the daemon reloads and drains, a client that no table lets in is never let in", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    allow: "sshd: 127.0.0.1\n",
    deny: "ALL: ALL\n",
  });
  const port = daemon.port("sshd");
  let isOver = false;
  const ends = new Set<string>();
  const knocking = (async () => {
    while (!isOver) ends.add((await talk(port, { from: "127.0.0.66", isHalfClosed: false })).end);
  })();
  for (let round = 0; round < 20; round += 1) {
    writeFileSync(daemon.denyFile, round % 2 === 0 ? "sshd: ALL\n" : "ALL: ALL\n");
    daemon.process.kill("SIGHUP");
    assert.equal((await talk(port, { say: "in" })).text, "in");
  }
  const session = await open(t, port);
  assert.equal(await ask(session, "before"), "before");
  daemon.process.kill("SIGTERM");
  await daemon.find(({ event }) => event === "draining");
  assert.equal(await ask(session, "after"), "after");
  isOver = true;
  await knocking;
  session.destroy();
  await daemon.exited();
  assert.ok(
    [...ends].every((end) => end === "ECONNRESET" || end === "ECONNREFUSED"),
    [...ends].join(),
  );
  const letIn = daemon.records.filter(
    ({ event, client }) => event === "accept" && client?.address === "127.0.0.66",
  );
  assert.deepEqual(letIn, []);
});

test("H8: a backend that failed rests while another serves, and is preferred again when its rest is over", async (t) => {
  const second = await startBackend(t, (socket) => void socket.end("second"));
  const port = await freePort();
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service("auto", `backend: ["127.0.0.1:${port}", "${second.address}"]`),
    allow: "",
    deny: "",
  });
  const answer = async (): Promise<string> => (await talk(daemon.port("sshd"))).text;
  assert.equal(await answer(), "second");
  const failedAtMs = Date.now();
  let served = 0;
  const first = createServer((socket) => {
    served += 1;
    socket.end("first");
  });
  await new Promise<void>((resolve) => first.listen(port, "127.0.0.1", resolve));
  t.after(() => void first.close());
  assert.equal(await answer(), "second");
  assert.equal(served, 0, "nobody knocks at a backend that rests");
  while ((await answer()) !== "first") {
    assert.ok(Date.now() - failedAtMs < 10_000, "it still rests");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.ok(Date.now() - failedAtMs > 4000);
  assert.equal(await answer(), "first");
  await daemon.find(({ code }) => code === "backend-risen");
  const turns = daemon.records.filter(({ code }) => String(code).startsWith("backend-"));
  assert.deepEqual(
    turns.map(({ level, service, code }) => [level, service, code]),
    [
      ["warn", "sshd", "backend-fallen"],
      ["info", "sshd", "backend-risen"],
    ],
  );
});

for (const sessions of ["cut", "keep"] as const) {
  test(`H8: when a backend has fallen, its open sessions are ${sessions === "cut" ? "cut" : "kept"}, also over a reload, those of the other go on`, async (t) => {
    const [first, second] = [await startBackend(t), await startBackend(t)];
    const yaml = (more: string): string =>
      service(
        "auto",
        `backend: ["${first.address}", "${second.address}"${more}], health: {fall: 2, sessions: ${sessions}}`,
      );
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: yaml(""),
      allow: "",
      deny: "",
    });
    const port = daemon.port("sshd");
    const early = await open(t, port);
    assert.equal(await ask(early, "early"), "early");
    first.server.close();
    writeFileSync(daemon.configFile, yaml(', "127.0.0.1:1"'));
    daemon.process.kill("SIGHUP");
    await daemon.find(({ code }) => code === "reloaded");
    const later = await open(t, port);
    assert.equal(await ask(later, "later"), "later");
    const last = await open(t, port);
    if (sessions === "cut") {
      const { cause, detail } = await daemon.find(({ event }) => event === "end");
      assert.deepEqual({ cause, detail }, { cause: "kicked", detail: "backend_fallen" });
    }
    assert.equal(await ask(last, "last"), "last");
    if (sessions === "keep") assert.equal(await ask(early, "still here"), "still here");
    assert.equal(await ask(later, "on"), "on");
    assert.equal(second.connections, 2);
  });
}
