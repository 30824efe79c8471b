/** Sessions of workers that have outlived their daemon: the next one on the same control socket lists them, and cuts them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { askDaemon } from "../../src/control/client.ts";
import type { Status } from "../../src/control/api.ts";
import { command, control } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";
import { freePort } from "../support/program.ts";

const isRoot = process.getuid?.() === 0;

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

test("L1: what stands in the folder of older workers and is none delays no answer for long, and fakes no session that does not read", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: "names: {reverse: never}\nprocess: {onRestart: keep}\n",
  });
  const folder = `${daemon.controlSocket}.older`;
  const answers: readonly [name: string, answer: string][] = [
    ["11", "SSH-2.0-OpenSSH\r\n"],
    ["12", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull"],
    [
      "13",
      'HTTP/1.1 200 OK\r\ncontent-length: 62\r\n\r\n{"sessions": [null, 7, {"id": 5}, {"id": "x", "client": null}]}',
    ],
    ["14", ""],
  ];
  for (const [name, answer] of answers) {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      if (answer !== "") socket.end(answer);
    });
    await new Promise<void>((resolve) => server.listen(join(folder, name), resolve));
    t.after(() => server.close());
  }
  writeFileSync(join(folder, "15"), "no socket");
  mkdirSync(join(folder, "16"));
  writeFileSync(join(folder, "not a number"), "");
  const askedMs = performance.now();
  assert.deepEqual(await listed(daemon), []);
  assert.ok(performance.now() - askedMs < 10_000);
  assert.equal((await command(daemon, "kick", "1hq3k0v5s7m2k000")).status, 1);
  const gone = createServer();
  await new Promise<void>((resolve) => gone.listen(join(folder, "20"), resolve));
  renameSync(join(folder, "20"), join(folder, "21"));
  gone.close();
  await listed(daemon);
  assert.deepEqual(readdirSync(folder).sort(), ["11", "12", "13", "14", "15", "16", "not a number"]);
});

test(
  "a folder for older workers that belongs to somebody else is not used, and that is said",
  { skip: isRoot ? false : "only root can give a folder away; run this test as root" },
  async (t) => {
    const backend = await startBackend(t);
    const options = { services: { sshd: backend.address }, yaml: "names: {reverse: never}\n" };
    const first = await RunningDaemon.start(t, options);
    const folder = `${first.controlSocket}.older`;
    await first.end("SIGTERM");
    chownSync(folder, 12_345, 12_345);
    chmodSync(folder, 0o755);
    const second = await RunningDaemon.start(t, { ...options, controlSocket: first.controlSocket });
    const { message } = await second.find(({ code }) => code === "no-older-workers");
    assert.match(String(message), /is there, and not ours/);
    assert.equal(statSync(folder).uid, 12_345);
  },
);
