/** What a daemon says to its service manager on its way, and a manager that takes its time. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import { bindSocket, type BoundSocket } from "../../src/platform/bound-sockets.ts";
import { UnixDatagram } from "../../src/platform/unix-datagram.ts";
import { command, control } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";
import { receiveDatagrams, temporaryFolder } from "../support/unix-receiver.ts";

interface Manager {
  /** What it has heard so far; whole datagrams. */
  readonly texts: readonly string[];
  /** Where it listens, as a daemon is told. */
  readonly environment: { readonly NOTIFY_SOCKET: string };
}

function startManager(t: TestContext): Manager {
  const path = join(temporaryFolder(t), "notify");
  const received = receiveDatagrams(path);
  t.after(() => received.close());
  return { texts: received.texts, environment: { NOTIFY_SOCKET: path } };
}

/** Asks again and again, twenty seconds at most. */
async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1000; tries += 1) {
    if (await isSo()) return;
    await pause(20);
  }
  throw new Error(`not within twenty seconds: ${what}`);
}

/** All that was said to it up to now, in order: datagrams wait in one queue, whoever has sent them. */
async function heardByNow({ texts, environment }: Manager): Promise<readonly string[]> {
  const last = new UnixDatagram(environment.NOTIFY_SOCKET);
  assert.deepEqual(last.send(Buffer.from("LAST")), { kind: "sent" });
  await until("the last word", () => texts.includes("LAST"));
  last.close();
  return texts;
}

const yaml = (more: string, backend: string, ofService = "") =>
  `names: {reverse: never}\nservices: {sshd: {listen: ["127.0.0.1:0"], backend: "${backend}", ${ofService}}}\n${more}`;

const stops: [
  how: "drain" | "SIGTERM",
  process: string,
  service: string,
  asksForTime: boolean,
  because: string,
][] = [
  ["drain", "onRestart: keep", "", true, "systemd has begun no stop, and would end one that takes too long"],
  ["SIGTERM", "onRestart: drain, drainTimeout: 1m", "", true, "our limit is in the place of its"],
  [
    "SIGTERM",
    "onRestart: drain, drainTimeout: 1m",
    "drainTimeout: 0",
    true,
    "so it is where not all have one",
  ],
  ["SIGTERM", "onRestart: drain", "", false, "its limit is the only one"],
];
for (const [how, settings, ofService, asksForTime, because] of stops)
  test(`${how} with ${settings} ${ofService} ${asksForTime ? "asks" : "does not ask"} the service manager for time while a session is left: ${because}`, async (t) => {
    const backend = await startBackend(t);
    const manager = startManager(t);
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: yaml(`process: {${settings}}\n`, backend.address, ofService),
      environment: manager.environment,
    });
    const session = await open(t, daemon.port("sshd"));
    assert.equal(await ask(session, "one"), "one");
    if (how === "drain") assert.equal((await command(daemon, "drain")).status, 0);
    else daemon.process.kill(how);
    await daemon.find(({ event }) => event === "draining");
    assert.equal(await ask(session, "two"), "two");
    const isTime = (text: string): boolean => text.startsWith("EXTEND_TIMEOUT_USEC=");
    if (asksForTime) await until("a word about time", () => manager.texts.some(isTime));
    session.end();
    assert.equal(await daemon.exited(), 0);
    const texts = await heardByNow(manager);
    assert.equal(texts.some(isTime), asksForTime);
    const [stopping, time] = [texts.indexOf("STOPPING=1"), texts.findIndex(isTime)];
    assert.ok(stopping >= 0, "it says that it stops");
    if (asksForTime) assert.ok(stopping < time, "before that nothing would be longer for it");
  });

test("G11: each RELOADING=1 of a storm, of a reload that is refused and of one in the midst of which a stop comes has its READY=1, and none comes after STOPPING=1", async (t) => {
  const backend = await startBackend(t);
  const manager = startManager(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: yaml("", backend.address),
    deny: "sshd: 127.0.0.66\n",
    environment: manager.environment,
  });
  const reloads = (): number => manager.texts.filter((text) => text.startsWith("RELOADING=1")).length;
  const reload = async (): Promise<number> => (await control(daemon, "POST", "/v1/reload")).status;
  for (let count = 0; count < 200; count += 1) {
    daemon.process.kill("SIGHUP");
    if (count % 40 === 0) assert.equal(await reload(), 200);
  }
  writeFileSync(daemon.configFile, "servces: {}\n");
  assert.equal(await reload(), 409);
  // New settings of the tables wait for one that is being written.
  writeFileSync(daemon.configFile, yaml("access: {recheck: cut}\n", backend.address));
  truncateSync(daemon.denyFile);
  const writing = setInterval(() => appendFileSync(daemon.denyFile, "#"), 50);
  t.after(() => clearInterval(writing));
  const before = reloads();
  daemon.process.kill("SIGHUP");
  await until("one more reload", () => reloads() > before);
  daemon.process.kill("SIGTERM");
  await until(
    "a stop",
    async () => (await control(daemon, "GET", "/v1/status")).body["state"] === "draining",
  );
  clearInterval(writing);
  assert.equal(await daemon.exited(), 0);
  const words = (await heardByNow(manager)).flatMap(
    (text) => /^(?:RELOADING|READY|STOPPING)=1$/m.exec(text)?.[0] ?? [],
  );
  const said = words.join(" ");
  assert.ok(reloads() >= 7, `${reloads()} reloads`);
  assert.match(said, /^READY=1 .*STOPPING=1$/);
  assert.doesNotMatch(said, /RELOADING=1 (?!READY=1)/);
});

/** A listening socket that nobody accepts from, as systemd keeps them. */
function keepListening(t: TestContext): { socket: BoundSocket; port: number } {
  const socket = bindSocket({ kind: "tcp", host: "127.0.0.1", port: 0, isIpv6: false, isIpv6Only: false });
  t.after(() => socket.close());
  // It goes on to listen when the one who has told it to is gone.
  const listen = "require('net').createServer().listen({ fd: 3 }, () => process.exit())";
  const { status } = spawnSync(process.execPath, ["-e", listen], {
    stdio: ["ignore", "inherit", "inherit", socket.descriptor],
  });
  assert.equal(status, 0);
  return { socket, port: socket.address?.port ?? 0 };
}

test("a restart that moves one listener holds what was kept of another while the service manager takes its time to close the old one", async (t) => {
  const backend = await startBackend(t);
  const manager = startManager(t);
  const [stays, moves] = [keepListening(t), keepListening(t)];
  const nameOf = ({ port }: { port: number }): string => `kept-${encodeURIComponent(`127.0.0.1:${port}`)}`;
  let isClosed = false;
  const closing = setInterval(() => {
    if (isClosed || !manager.texts.includes(`FDSTOREREMOVE=1\nFDNAME=${nameOf(moves)}`)) return;
    isClosed = true;
    setTimeout(() => moves.socket.close(), 700);
  }, 10);
  t.after(() => clearInterval(closing));
  const daemon = await RunningDaemon.start(t, {
    services: { stays: backend.address, moves: backend.address },
    listen: { stays: `127.0.0.1:${stays.port}`, moves: `0.0.0.0:${moves.port}` },
    passed: [stays.socket.descriptor, moves.socket.descriptor],
    before: ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"'],
    environment: {
      ...manager.environment,
      LISTEN_FDS: "2",
      LISTEN_FDNAMES: `${nameOf(stays)}:${nameOf(moves)}`,
    },
  });
  assert.ok(isClosed, "the old socket was in the way");
  for (const { port } of [stays, moves]) assert.equal((await talk(port, { say: "hello" })).text, "hello");
  assert.equal(await daemon.end("SIGTERM"), 0);
});
