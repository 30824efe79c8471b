import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import type { Status } from "../../src/control/api.ts";
import { command, control } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { killWorkerUnderLoad } from "../support/kill-worker.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";

const yaml = (process: string) => `names: {reverse: never}\nprocess: {${process}}\n`;

/** Waits until a process is gone, or is a zombie that nobody has reaped yet. */
async function gone(pid: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 20) {
    const status = existsSync(`/proc/${pid}`) ? readFileSync(`/proc/${pid}/status`, "utf8") : "State:\tZ";
    if (/^State:\s*Z/m.test(status)) return;
    await pause(20);
  }
  throw new Error(`process ${pid} is still there`);
}

for (const workers of [0, 1, 3]) {
  test(`a daemon with ${workers} workers has one ready, one draining, one stopped, and a record of each generation`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: { sshd: backend.address },
      yaml: yaml(`workers: ${workers}`),
      deny: "ALL: 127.0.0.66\n",
    });
    assert.equal(daemon.workers().length, Math.max(1, workers));
    const port = daemon.port("sshd");
    for (let count = 0; count < 20; count += 1)
      assert.equal((await talk(port, { say: "hello" })).text, "hello");
    assert.equal((await talk(port, { from: "127.0.0.66" })).end, "ECONNRESET");
    assert.equal(await daemon.end("SIGTERM"), 0);
    const count = (name: string) =>
      daemon.records.filter(({ event, code }) => event === name && code !== "runs-as-root").length;
    assert.deepEqual(
      ["tables", "ready", "accept", "end", "refuse", "draining", "stopped", "diagnostic"].map(count),
      [1, 1, 20, 20, 1, 1, 1, 1],
      "the only diagnostic says which relay it is",
    );
    assert.equal(daemon.records.at(-1)?.event, "stopped");
  });
}

test("J3: a worker that is killed under load is replaced at once, and nobody is refused by the listener", async (t) => {
  const { awayMs, refused, died, summary } = await killWorkerUnderLoad(t, 150);
  t.diagnostic(`first accept ${awayMs} ms after the death; ${summary}`);
  // A second on a machine of its own (test/peers/load.test.ts); this one may be running everything else beside us.
  assert.ok(awayMs < 10_000, `${awayMs} ms`);
  assert.doesNotMatch(summary, /ECONNREFUSED|garbled/, "the listener never closes");
  assert.ok(refused <= 50, "only what the dead worker had in its hands is lost");
  assert.match(died, /^worker \d+ ended by SIGKILL, about \d+ sessions are lost/);
});

test("J3: a worker that dies again and again is replaced with growing pauses", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: yaml("workers: 1"),
  });
  const port = daemon.port("sshd");
  const deaths = (): number => daemon.records.filter(({ code }) => code === "worker-died").length;
  const killed = new Set<number>();
  const times: number[] = [];
  while (killed.size < 4) {
    const worker = await servingWorker(daemon);
    if (worker !== undefined && !killed.has(worker)) {
      assert.equal((await talk(port, { say: "x" })).text, "x");
      killed.add(worker);
      process.kill(worker, "SIGKILL");
      times.push(performance.now());
      await daemon.find(() => deaths() === killed.size);
    }
    await pause(10);
  }
  assert.equal((await talk(port, { say: "still here" })).text, "still here");
  const pauses = times.slice(1).map((time, index) => Math.round(time - (times[index] ?? 0)));
  t.diagnostic(`milliseconds from death to death: ${pauses.join(", ")}`);
  assert.equal(deaths(), 4);
});

/** As the supervisor says: among its children there is a spare one, too. */
async function servingWorker(daemon: RunningDaemon): Promise<number | undefined> {
  const { status, body } = await control(daemon, "GET", "/v1/status");
  assert.equal(status, 200, `status answers while nobody serves, too: ${JSON.stringify(body)}`);
  return (body as unknown as Status).workers[0]?.pid;
}

test("J4: when the supervisor is killed, its worker lets nobody in and serves the open session to its end", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: yaml("workers: 1"),
  });
  const port = daemon.port("sshd");
  const session = await open(t, port);
  assert.equal(await ask(session, "one"), "one");
  const [worker = 0] = daemon.workers();
  await daemon.end("SIGKILL");
  await daemon.find(({ code }) => code === "supervisor-lost");
  assert.equal((await talk(port)).end, "ECONNREFUSED");
  assert.equal(await ask(session, "two"), "two");
  session.end();
  await gone(worker);
  assert.equal((await daemon.find(({ event }) => event === "end")).cause, "client_closed");
});

test("J5: SIGTERM with onRestart keep: the daemon is gone at once, the port is free for the next one, the session goes on", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: yaml("workers: 1, onRestart: keep"),
  });
  const port = daemon.port("sshd");
  const session = await open(t, port);
  assert.equal(await ask(session, "one"), "one");
  const [worker = 0] = daemon.workers();
  assert.equal(await daemon.end("SIGTERM"), 0);
  const next = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    listen: { sshd: `127.0.0.1:${port}` },
  });
  assert.equal((await talk(port, { say: "new" })).text, "new");
  assert.equal(await ask(session, "two"), "two");
  session.end();
  await gone(worker);
  assert.equal((await daemon.find(({ event }) => event === "end")).cause, "client_closed");
  assert.deepEqual(
    daemon.records.filter(({ event }) => event === "stopped").map(({ detail }) => detail),
    ["1 sessions go on in their workers"],
  );
  assert.equal(next.records.filter(({ event }) => event === "accept").length, 1);
});

for (const [drainTimeout, because] of [
  ["300ms", "which counts from then"],
  ["0", "and without one after some seconds: nobody waits for it any more but a machine that goes down"],
] as const)
  test(`J5: a left-over worker that gets SIGTERM itself cuts what is left after drainTimeout (${drainTimeout}), ${because}`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: { sshd: backend.address },
      yaml: yaml(`workers: 1, onRestart: keep, drainTimeout: ${drainTimeout}`),
    });
    const session = await open(t, daemon.port("sshd"));
    assert.equal(await ask(session, "one"), "one");
    const [worker = 0] = daemon.workers();
    assert.equal(await daemon.end("SIGTERM"), 0);
    await pause(600);
    assert.equal(await ask(session, "two"), "two", "a restart alone sets it no limit");
    process.kill(worker, "SIGTERM");
    await gone(worker);
    assert.equal((await daemon.find(({ event }) => event === "end")).cause, "drain");
  });

test("J4: a supervisor that is killed while it drains: the worker cuts what is left at the deadline of the drain", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: yaml("workers: 1, drainTimeout: 4s"),
  });
  const session = await open(t, daemon.port("sshd"));
  assert.equal(await ask(session, "one"), "one");
  const [worker = 0] = daemon.workers();
  daemon.process.kill("SIGTERM");
  await daemon.find(({ event }) => event === "draining");
  await daemon.end("SIGKILL");
  assert.equal(await ask(session, "two"), "two", "it outlives the supervisor");
  await gone(worker);
  assert.equal((await daemon.find(({ event }) => event === "end")).cause, "drain");
});

test("J1: a drain with a deadline cuts what is left after it", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: yaml("drainTimeout: 300ms"),
  });
  const session = await open(t, daemon.port("sshd"));
  assert.equal(await ask(session, "one"), "one");
  assert.equal(await daemon.end("SIGTERM"), 0);
  assert.equal(daemon.records.find(({ event }) => event === "end")?.cause, "drain");
});

for (const workers of [0, 1])
  test(`J1: a drain has a time for each service, and spreads its cuts, the oldest session first (workers: ${workers})`, async (t) => {
    const backend = await startBackend(t);
    const service = (more: string) => `{listen: ["127.0.0.1:0"], backend: "${backend.address}"${more}}`;
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: `names: {reverse: never}\nprocess: {workers: ${workers}, drainTimeout: 1h, drainSpread: 4s}\nservices: {mysqld: ${service(", drainTimeout: 4s")}, sshd: ${service("")}}\n`,
    });
    const opened = [];
    for (let count = 0; count < 3; count++) opened.push(await open(t, daemon.port("mysqld")));
    const shell = await open(t, daemon.port("sshd"));
    for (const each of [...opened, shell]) assert.equal(await ask(each, "one"), "one");
    daemon.process.kill("SIGTERM");
    await daemon.find(({ event }) => event === "draining");
    const ends = () => daemon.records.filter(({ event, service: of }) => event === "end" && of === "mysqld");
    await daemon.find(() => ends().length === 3);
    const ids = (event: string) =>
      daemon.records.filter((each) => each.event === event && each.service === "mysqld").map(({ id }) => id);
    assert.deepEqual(ids("end"), ids("accept"));
    assert.deepEqual(
      ends().map(({ cause }) => cause),
      ["drain", "drain", "drain"],
    );
    const times = ends().map(({ time }) => Date.parse(String(time)));
    for (const [index, time] of times.slice(1).entries())
      assert.ok(time - (times[index] ?? 0) >= 500, String(times));
    assert.equal(await ask(shell, "two"), "two");
    shell.end();
    assert.equal(await daemon.exited(), 0);
  });

for (const workers of [0, 1])
  test(`J1: a drain gives a service that a reload has taken away the time of process.drainTimeout (workers: ${workers})`, async (t) => {
    const backend = await startBackend(t);
    const service = (name: string, more: string) =>
      `${name}: {listen: ["127.0.0.1:0"], backend: "${backend.address}"${more}}`;
    const shells = service("sshd", ", drainTimeout: 0");
    const yaml = (services: string) =>
      `names: {reverse: never}\nprocess: {workers: ${workers}, drainTimeout: 500ms}\nservices: {${services}}\n`;
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: yaml(`${shells}, ${service("old", "")}`),
    });
    const shell = await open(t, daemon.port("sshd"));
    const old = await open(t, daemon.port("old"));
    for (const each of [shell, old]) assert.equal(await ask(each, "one"), "one");
    writeFileSync(daemon.configFile, yaml(shells));
    assert.equal((await command(daemon, "reload")).status, 0);
    daemon.process.kill("SIGTERM");
    const { service: of, cause } = await daemon.find(({ event }) => event === "end");
    assert.deepEqual([of, cause], ["old", "drain"]);
    assert.equal(await ask(shell, "two"), "two");
    shell.end();
    assert.equal(await daemon.exited(), 0);
  });

test("`drain` waits for the session whatever a restart would do with it (onRestart keep), and the daemon ends with 0", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: yaml("workers: 1, onRestart: keep"),
  });
  const port = daemon.port("sshd");
  const session = await open(t, port);
  assert.equal(await ask(session, "one"), "one");
  const drained = await command(daemon, "drain", "--json");
  assert.deepEqual([drained.status, JSON.parse(drained.output)], [0, { sessions: 1 }]);
  await daemon.find(({ event }) => event === "draining");
  assert.equal((await talk(port)).end, "ECONNREFUSED");
  assert.equal(await ask(session, "two"), "two");
  const status = (await control(daemon, "GET", "/v1/status")).body as unknown as Status;
  assert.equal(status.state, "draining", "it is there, and waits");
  session.end();
  assert.equal(await daemon.exited(), 0);
  await daemon.find(({ event }) => event === "stopped");
  const [end, stopped] = daemon.records.slice(-2);
  assert.deepEqual([end?.cause, stopped?.event, stopped?.detail], ["client_closed", "stopped", undefined]);
});

test("`drain` with onRestart keep cuts what is left after drainTimeout", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: yaml("workers: 1, onRestart: keep, drainTimeout: 300ms"),
  });
  const session = await open(t, daemon.port("sshd"));
  assert.equal(await ask(session, "one"), "one");
  assert.equal((await command(daemon, "drain")).status, 0);
  assert.equal(await daemon.exited(), 0);
  await daemon.find(({ event }) => event === "stopped");
  const [end, stopped] = daemon.records.slice(-2);
  assert.deepEqual([end?.cause, stopped?.event, stopped?.detail], ["drain", "stopped", undefined]);
});

test("a terminal's Ctrl-C reaches the workers too, and is the supervisor's business", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, { services: { sshd: backend.address } });
  const session = await open(t, daemon.port("sshd"));
  assert.equal(await ask(session, "one"), "one");
  const [worker = 0] = daemon.workers();
  process.kill(worker, "SIGINT");
  daemon.process.kill("SIGINT");
  await daemon.find(({ event }) => event === "draining");
  assert.equal(await ask(session, "two"), "two");
  session.end();
  assert.equal(await daemon.exited(), 0);
});
