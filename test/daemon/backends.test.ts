/** What the daemon knows of its backends: where their names lead, and how they treat its clients. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { askDaemon } from "../../src/control/client.ts";
import type { Status } from "../../src/control/api.ts";
import { command } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { startDns } from "../support/dns-server.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";

async function backendsOf(daemon: RunningDaemon, service: string) {
  const { body } = await askDaemon(daemon.controlSocket, "GET", "/v1/status");
  return (body as Status).services.find(({ name }) => name === service)?.backends;
}

test("H3: a backend that closes at once, without a byte, is counted in status, and over a reload", async (t) => {
  const quick = await startBackend(t, (socket) => void socket.end());
  const well = await startBackend(t);
  const daemon = await RunningDaemon.start(t, { services: { quickd: quick.address, welld: well.address } });
  const ended = (): number => daemon.records.filter(({ event }) => event === "end").length;
  await talk(daemon.port("quickd"), { isHalfClosed: false });
  assert.equal((await talk(daemon.port("welld"), { say: "x" })).text, "x");
  await daemon.find(() => ended() === 2);
  const isAsBefore = { failures: 0, restsForMs: 0, sessions: 0 };
  assert.deepEqual(await backendsOf(daemon, "quickd"), [
    { address: quick.address, ...isAsBefore, quickCloses: 1 },
  ]);
  assert.deepEqual(await backendsOf(daemon, "welld"), [
    { address: well.address, ...isAsBefore, quickCloses: 0 },
  ]);
  daemon.process.kill("SIGHUP");
  await daemon.find(({ code }) => code === "reloaded");
  assert.equal((await backendsOf(daemon, "quickd"))?.[0]?.quickCloses, 1);
});

test("H7: clients beyond maxPerBackend go to the next backend, and are reset where all are full", async (t) => {
  const [first, second] = [await startBackend(t), await startBackend(t)];
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: `names: {reverse: never}\nservices: {dbd: {listen: ["127.0.0.1:0"], backend: ["${first.address}", "${second.address}"], maxPerBackend: 1}}\n`,
  });
  const port = daemon.port("dbd");
  const sessions = [await open(t, port), await open(t, port)];
  for (const session of sessions) assert.equal(await ask(session, "x"), "x");
  assert.deepEqual([first.connections, second.connections], [1, 1]);
  assert.deepEqual(
    (await backendsOf(daemon, "dbd"))?.map(({ sessions: count }) => count),
    [1, 1],
  );
  assert.equal((await talk(port, { isHalfClosed: false })).end, "ECONNRESET");
  const { cause, detail } = await daemon.find(({ event }) => event === "end");
  assert.equal(cause, "backend_unreachable");
  assert.equal(detail, `backend_unreachable: ${first.address} is full, ${second.address} is full`);
  sessions[0]?.end();
  await daemon.find(({ event, cause: how }) => event === "end" && how !== "backend_unreachable");
  assert.equal((await talk(port, { say: "room" })).text, "room");
  assert.deepEqual([first.connections, second.connections], [2, 1]);
});

test("H7: a reload that changes the backends, or where names are looked up, forgets no session", async (t) => {
  const [first, second] = [await startBackend(t), await startBackend(t)];
  const yaml = (names: string, backends: string): string =>
    `names: {reverse: never${names}}\nservices: {dbd: {listen: ["127.0.0.1:0"], backend: [${backends}], maxPerBackend: 1}}\n`;
  const daemon = await RunningDaemon.start(t, { services: {}, yaml: yaml("", `"${first.address}"`) });
  const port = daemon.port("dbd");
  const session = await open(t, port);
  assert.equal(await ask(session, "x"), "x");
  const reload = async (text: string): Promise<void> => {
    writeFileSync(daemon.configFile, text);
    assert.equal((await command(daemon, "reload")).status, 0);
  };
  await reload(yaml(", cache: 5", `"${first.address}"`));
  assert.equal((await talk(port, { isHalfClosed: false })).end, "ECONNRESET");
  await reload(yaml(", cache: 5", `"${second.address}"`)); // out of the way for a while
  await reload(yaml(", cache: 5", `"${second.address}", "${first.address}"`));
  const other = await open(t, port);
  assert.equal(await ask(other, "y"), "y");
  assert.equal((await talk(port, { isHalfClosed: false })).end, "ECONNRESET");
  assert.deepEqual(
    (await backendsOf(daemon, "dbd"))?.map(({ sessions }) => sessions),
    [1, 1],
  );
  const isOver = (): boolean => daemon.records.some(({ cause }) => cause === "client_closed");
  session.end();
  await daemon.find(isOver);
  assert.equal((await talk(port, { say: "room" })).text, "room");
  assert.deepEqual([first.connections, second.connections], [2, 1]);
});

test("H5: the name of a backend is asked of names.servers, from the first connection on", async (t) => {
  const backend = await startBackend(t);
  const dns = await startDns(({ name, type }) =>
    name === "db.test" && type === "A" ? { records: [{ type: "A", data: "127.0.0.1" }] } : { rcode: 3 },
  );
  t.after(() => dns.close());
  const daemon = await RunningDaemon.start(t, {
    services: { dbd: backend.address.replace("127.0.0.1", "db.test") },
    yaml: `names: {reverse: never, servers: ["${dns.address}"], hostsFile: /dev/null}\n`,
  });
  assert.equal((await talk(daemon.port("dbd"), { say: "x" })).text, "x");
});

test("H5: a DNS server that drops AAAA, and then falls silent, keeps no client from a backend by name", async (t) => {
  const backend = await startBackend(t);
  let isSilent = false;
  const dns = await startDns(({ type }) =>
    isSilent || type === "AAAA" ? undefined : { records: [{ type: "A", data: "127.0.0.1", ttl: 1 }] },
  );
  t.after(() => dns.close());
  const daemon = await RunningDaemon.start(t, {
    services: { dbd: backend.address.replace("127.0.0.1", "db.test") },
    yaml: `names: {reverse: never, servers: ["${dns.address}"], hostsFile: /dev/null}\n`,
  });
  assert.equal((await talk(daemon.port("dbd"), { say: "x" })).text, "x");
  isSilent = true;
  const before = dns.asked.length;
  while (dns.asked.length === before) {
    assert.equal((await talk(daemon.port("dbd"), { say: "x" })).text, "x");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal((await talk(daemon.port("dbd"), { say: "x" })).text, "x");
  const status = await backendsOf(daemon, "dbd");
  assert.deepEqual(
    status?.map(({ failures, restsForMs }) => [failures, restsForMs]),
    [[0, 0]],
  );
});
