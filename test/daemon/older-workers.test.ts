/** Sessions of workers that have outlived their daemon: the next one on the same control socket lists them, and cuts them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { askDaemon } from "../../src/control/client.ts";
import type { Status } from "../../src/control/api.ts";
import { OlderWorkers } from "../../src/control/older.ts";
import { command, control } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";
import { freePort } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : "only root can give files away; run this test as root";

interface Listed {
  readonly id: string;
  readonly olderWorker?: number;
}

async function listed(daemon: RunningDaemon): Promise<readonly Listed[]> {
  return (await control(daemon, "GET", "/v1/sessions")).body["sessions"] as readonly Listed[];
}

async function statusOf(daemon: RunningDaemon): Promise<Status> {
  return (await control(daemon, "GET", "/v1/status")).body as unknown as Status;
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 400 && !(await isSo()); tries++) await pause(25);
  assert.ok(await isSo());
}

/** Two daemons in turn on one control socket, where a session of the first goes on. */
async function restart(t: TestContext, process: string, how: NodeJS.Signals) {
  const backend = await startBackend(t);
  const port = await freePort();
  const options = {
    services: { sshd: backend.address },
    listen: { sshd: `127.0.0.1:${port}` },
    yaml: `names: {reverse: never}\nprocess: {${process}}\n`,
    folderMode: 0o755,
    allow: "",
    deny: "",
  };
  const first = await RunningDaemon.start(t, options);
  const session = await open(t, port);
  assert.equal(await ask(session, "before"), "before");
  const [worker = 0] = first.workers();
  await first.end(how);
  await until(() => existsSync(join(`${first.controlSocket}.older`, String(worker))));
  const second = await RunningDaemon.start(t, { ...options, controlSocket: first.controlSocket });
  assert.equal(await ask(session, "after"), "after");
  return { first, second, session, worker, port, folder: `${first.controlSocket}.older` };
}

const ways = [
  ["a restart", "onRestart: keep", "SIGTERM"],
  ["the end of a killed daemon", "onRestart: drain", "SIGKILL"],
  ...(isRoot
    ? ([["a restart with process.user", "user: nobody, group: nogroup, onRestart: keep", "SIGTERM"]] as const)
    : []),
] as const;

for (const [because, process, how] of ways)
  test(`J5, J4: after ${because} the next daemon lists the sessions of the older worker, and cuts them`, async (t) => {
    const { second, session, worker, port, folder } = await restart(t, process, how);
    assert.equal((await talk(port, { say: "new" })).text, "new");
    const ours = await open(t, port);
    assert.equal(await ask(ours, "ours"), "ours");
    const sessions = await listed(second);
    assert.deepEqual(
      sessions.map(({ olderWorker }) => olderWorker),
      [worker, undefined],
    );
    const { olderWorkers, sessions: own } = await statusOf(second);
    assert.deepEqual(olderWorkers, [{ pid: worker, sessions: 1 }]);
    assert.equal(own, 1);
    assert.match(
      (await command(second, "sessions")).output,
      new RegExp(`^${sessions[0]?.id ?? ""}  sshd +accepted by ${worker} +`, "m"),
    );
    assert.match(
      (await command(second, "status")).output,
      new RegExp(`^older worker ${worker}: 1 sessions, served to their end$`, "m"),
    );
    const cut = once(session, "error") as Promise<[NodeJS.ErrnoException]>;
    assert.equal((await command(second, "kick", sessions[0]?.id ?? "")).status, 0);
    assert.equal((await cut)[0].code, "ECONNRESET");
    await until(() => readdirSync(folder).length === 0);
    assert.deepEqual((await statusOf(second)).olderWorkers, []);
    assert.equal((await command(second, "kick", sessions[0]?.id ?? "")).status, 1);
    assert.equal(await ask(ours, "still"), "still");
  });

test("L1: nobody but the daemon and its workers may ask an older worker", async (t) => {
  const { worker, folder } = await restart(t, "onRestart: keep", "SIGTERM");
  assert.equal(statSync(folder).mode & 0o7777, 0o700);
  assert.equal(statSync(join(folder, String(worker))).mode & 0o777, 0o660);
  const socket = join(folder, String(worker));
  assert.equal((await askDaemon(socket, "GET", "/v1/status")).status, 404);
  assert.equal((await askDaemon(socket, "POST", "/v1/drain")).status, 404);
});

const genuine = {
  id: "1hq3k0v5s7m2k000",
  service: "sshd",
  daemon: "sshd",
  client: { address: "192.0.2.1", port: 1234 },
  server: { address: "192.0.2.9" },
  state: "accepted",
  acceptedAt: "2026-01-01T00:00:00.000Z",
  ageMs: 5,
};

function answering(body: string): string {
  return `HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

test("L1: what stands in the folder of older workers and is none delays no answer for long, and fakes no session that does not read", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: "names: {reverse: never}\nprocess: {onRestart: keep}\n",
  });
  const folder = `${daemon.controlSocket}.older`;
  const answers: readonly [name: string, answer: string][] = [
    ["11", "SSH-2.0-OpenSSH\r\n"],
    ["12", answering("null")],
    ["13", answering(JSON.stringify({ sessions: [genuine] }))],
    ["14", answering(JSON.stringify({ sessions: [...Array(2 ** 22).keys()] }))],
    ["15", ""],
    ["16", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"],
    ["17", answering(JSON.stringify({ sessions: [genuine, null, genuine] }))],
  ];
  for (const [name, answer] of answers) {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      if (answer !== "") socket.end(answer);
    });
    await new Promise<void>((resolve) => server.listen(join(folder, name), resolve));
    t.after(() => server.close());
  }
  writeFileSync(join(folder, "21"), "no socket");
  mkdirSync(join(folder, "22"));
  symlinkSync(daemon.controlSocket, join(folder, "23"));
  writeFileSync(join(folder, "not a number"), "");
  const askedMs = performance.now();
  const sessions = await listed(daemon);
  assert.ok(performance.now() - askedMs < 5000);
  assert.deepEqual(
    sessions,
    [13, 17].map((olderWorker) => ({ ...genuine, olderWorker })),
  );
  assert.equal((await command(daemon, "sessions")).status, 0);
  const { olderWorkers } = await statusOf(daemon);
  assert.deepEqual(
    olderWorkers
      .map(({ pid, sessions: count }) => [pid, count])
      .sort(([one], [other]) => Number(one) - Number(other)),
    [
      [11, null],
      [12, 0],
      [13, 1],
      [14, null],
      [15, null],
      [16, null],
      [17, 1],
    ],
  );
  assert.match((await command(daemon, "status")).output, /^older worker 15: does not answer$/m);
  assert.equal((await command(daemon, "kick", "1hq3k0v5s7m2k001")).status, 1);
  const drained = await command(daemon, "drain");
  assert.deepEqual([drained.status, drained.output], [0, "nobody is let in any more; 0 sessions are left\n"]);
});

const oddSessions: [because: string, session: unknown][] = [
  ["nothing", null],
  ["a number", 7],
  ["of a wrong kind", { ...genuine, id: 5 }],
  ["without a client", { ...genuine, client: null }],
  ["with a backend that is no text", { ...genuine, backend: 5 }],
  ["with a name that is no text", { ...genuine, client: { address: "192.0.2.1", name: {} } }],
  ["with an id that leads elsewhere", { ...genuine, id: "../status" }],
];
for (const [because, session] of oddSessions)
  test(`L1: a session of an older worker that does not read is not told: ${because}`, async (t) => {
    const folder = `${scratchFolder(t)}/older`;
    mkdirSync(folder, { mode: 0o700 });
    const server = createServer((socket) =>
      socket.end(answering(JSON.stringify({ sessions: [genuine, session] }))),
    );
    await new Promise<void>((resolve) => server.listen(join(folder, "7"), resolve));
    t.after(() => server.close());
    const uid = process.getuid?.() ?? 0;
    assert.deepEqual(await new OlderWorkers(folder, [uid]).reports(), [{ pid: 7, sessions: [genuine] }]);
    assert.deepEqual(await new OlderWorkers(folder, [uid + 1]).reports(), []);
  });

test("J4: the socket that a killed older worker has left is removed by who asks next", async (t) => {
  const { second, worker, folder } = await restart(t, "onRestart: keep", "SIGTERM");
  process.kill(worker, "SIGKILL");
  await until(async () => (await statusOf(second)).olderWorkers.length === 0);
  assert.deepEqual(readdirSync(folder), []);
});

for (const [because, uid, mode] of [
  ["belongs to somebody else", 12_345, 0o700],
  ["is open to others", 0, 0o777],
] as const)
  test(`L1: a worker does not answer in a folder that ${because}, and says so`, { skip }, async (t) => {
    const backend = await startBackend(t);
    const first = await RunningDaemon.start(t, {
      services: { sshd: backend.address },
      yaml: "names: {reverse: never}\nprocess: {onRestart: keep}\n",
    });
    const folder = `${first.controlSocket}.older`;
    const session = await open(t, first.port("sshd"));
    assert.equal(await ask(session, "one"), "one");
    chownSync(folder, uid, uid);
    chmodSync(folder, mode);
    await first.end("SIGKILL");
    const { message } = await first.find(({ code }) => code === "control");
    assert.match(String(message), /is no folder that only we may enter/);
    assert.deepEqual(readdirSync(folder), []);
  });

test("a control socket whose path leaves no room for those of older workers is told of at the start", async (t) => {
  const backend = await startBackend(t);
  const folder = scratchFolder(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: "names: {reverse: never}\n",
    controlSocket: join(folder, "c".repeat(95 - folder.length)),
  });
  const { message } = await daemon.find(({ code }) => code === "no-older-workers");
  assert.match(String(message), /too long for sockets beside it/);
  assert.deepEqual(await listed(daemon), []);
});

test("process.user may change: the folder goes over to the new one", { skip }, async (t) => {
  const backend = await startBackend(t);
  const yaml = (more: string): string => `names: {reverse: never}\nprocess: {${more}}\n`;
  const options = { services: { sshd: backend.address }, folderMode: 0o755 };
  const first = await RunningDaemon.start(t, { ...options, yaml: yaml("user: nobody") });
  const { controlSocket } = first;
  const folder = `${controlSocket}.older`;
  const seen = [statSync(folder).uid];
  await first.end("SIGTERM");
  for (const more of ["user: daemon", "onRestart: keep"]) {
    const next = await RunningDaemon.start(t, { ...options, yaml: yaml(more), controlSocket });
    seen.push(statSync(folder).uid);
    assert.deepEqual(
      next.records.filter(({ code }) => code === "no-older-workers"),
      [],
    );
    await next.end("SIGTERM");
  }
  assert.deepEqual(seen, [65_534, 1, 0]);
  assert.equal(statSync(folder).mode & 0o7777, 0o700);
});
