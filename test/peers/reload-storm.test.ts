/** A thousand reloads while clients come all the time, with nothing else on the machine; npm run test:peers runs one file at a time. */

import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { control } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { startLoadProcess } from "../support/load.ts";
import { memoryMeter } from "../support/memory.ts";
import { startEchoProcess } from "../support/program.ts";

const reloads = Number(process.env["TCPWRAPD_RELOADS"] ?? "1000");
const perSecond = Number(process.env["TCPWRAPD_RATE"] ?? "500");

/** One connection of so many is a client that the tables refuse. */
const badShare = 0.2;
const bad = "127.0.0.66";

/** Beside those that come and go: sessions that must live through every reload. */
const sessions = 10;

/** After these everything has been in use; what is there then should be there at the end. */
const warmUp = Math.ceil(reloads / 4);

/** One reload of so many is asked for by SIGHUP, and beside one of so many a table is edited. */
const every = { hangup: 10, edit: 7 } as const;

/** What each process may have more at the end than after the warm-up. A kilobyte lost by each reload or connection is more. */
const allowance = { heapMiB: 6, rssMiB: 64 } as const;

/** One configuration after another; each changes something else from the one before, and all let the same clients in. */
function configurations(backend: string): string[] {
  const sshd = `sshd: {listen: ["127.0.0.1:0"], backend: "${backend}"`;
  return [
    `names: {reverse: never}\nservices: {${sshd}}}\n`,
    `names: {reverse: never}\nservices: {${sshd}}, web: {listen: ["127.0.0.1:0"], backend: "${backend}"}}\n`,
    `names: {reverse: never}\nservices: {${sshd}}}\naccess: {noMatch: refuse}\n`,
    `names: {reverse: never, timeout: 2s}\nservices: {${sshd}}}\n`,
    `names: {reverse: never}\nservices: {${sshd}, maxConnections: 4000}}\nlimits: {startsPerMinute: 500}\n`,
  ];
}

/** Puts a table in the place of the one that refuses, which says the same and something else besides. */
function editDeny({ denyFile }: RunningDaemon, count: number): void {
  writeFileSync(`${denyFile}.new`, `sshd: ${bad}\nsshd: 192.0.2.${count % 250}\n`);
  renameSync(`${denyFile}.new`, denyFile);
}

/** Reloads number `first` to `last`, each by itself: the next one is asked for when the record of this one is there. */
async function storm(
  daemon: RunningDaemon,
  yamls: readonly string[],
  first: number,
  last: number,
): Promise<void> {
  for (let count = first; count <= last; count += 1) {
    // Counted from the end, so that the last one is the configuration of the start.
    writeFileSync(daemon.configFile, yamls[(reloads - count) % yamls.length] ?? "");
    if (count % every.edit === 0) editDeny(daemon, count);
    if (count % every.hangup === 0) daemon.process.kill("SIGHUP");
    else {
      const { status, body } = await control(daemon, "POST", "/v1/reload");
      assert.equal(status, 200, JSON.stringify(body));
    }
    let seen = 0;
    await daemon.find(({ code }) => code === "reloaded" && ++seen === count);
  }
}

/** Good and bad clients at their rates; the function that comes back ends both and gives their summaries. */
function startClients(t: TestContext, port: number) {
  const endGood = startLoadProcess(t, port, { sessions, perSecond: perSecond * (1 - badShare) });
  const endBad = startLoadProcess(t, port, { sessions: 0, perSecond: perSecond * badShare, from: bad });
  return async () => {
    const [good, refused] = await Promise.all([endGood(), endBad()]);
    return { good, bad: refused };
  };
}

function count({ records }: RunningDaemon, event: string): number {
  return records.filter((record) => record.event === event).length;
}

/** Waits until something is what it should be, at most twenty seconds; gives what it came to. */
async function settled<Value>(read: () => Value, isSettled: (value: Value) => boolean): Promise<Value> {
  for (let tries = 0; !isSettled(read()) && tries < 1000; tries += 1) await pause(20);
  return read();
}

/** Waits until something has been the same for a second, at most twenty. */
async function steady(read: () => number): Promise<number> {
  let [last, times] = [read(), 0];
  await settled(read, (value) => {
    times = value === last ? times + 1 : 0;
    last = value;
    return times >= 50;
  });
  return last;
}

const mebibytes = (bytes: number): number => Math.round((bytes / 2 ** 20) * 10) / 10;

test(`G8: ${reloads} reloads under ${perSecond} connections a second refuse no good client, let no bad one in, and leave nothing behind`, async (t) => {
  const meter = memoryMeter(t);
  const backend = await startEchoProcess(t);
  const yamls = configurations(backend);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: yamls[0] ?? "",
    allow: "sshd: 127.0.0.1\n",
    deny: `sshd: ${bad}\n`,
    environment: meter.environment,
  });
  const port = daemon.port("sshd");
  await settled(
    () => daemon.workers().length,
    (length) => length === 2,
  ); // the one that serves, and the spare one
  const processes = Object.entries({
    supervisor: daemon.process.pid ?? 0,
    worker: daemon.workers()[0] ?? 0,
    spare: daemon.workers()[1] ?? 0,
  });
  const measure = async () => await Promise.all(processes.map(([, pid]) => meter.measure(pid)));

  const runs: Awaited<ReturnType<ReturnType<typeof startClients>>>[] = [];
  const memory: Awaited<ReturnType<typeof measure>>[] = [];
  const descriptors: number[] = [];
  const startedAt = performance.now();
  for (const [first, last] of [
    [1, warmUp],
    [warmUp + 1, reloads],
  ] as const) {
    const endClients = startClients(t, port);
    await storm(daemon, yamls, first, last);
    runs.push(await endClients());
    const accepted = count(daemon, "accept");
    const ended = await settled(
      () => count(daemon, "end"),
      (ends) => ends === accepted,
    );
    assert.equal(ended, accepted, "every session has ended");
    memory.push(await measure());
    descriptors.push(await steady(() => daemon.descriptors()));
  }

  const seconds = Math.round((performance.now() - startedAt) / 1000);
  const sum = (of: (run: (typeof runs)[number]) => number): number =>
    runs.reduce((all, run) => all + of(run), 0);
  const good = sum((run) => run.good.connections);
  const turnedAway = sum((run) => run.bad.connections);
  const offered = runs.map((run) => Math.round(run.good.perSecond + run.bad.perSecond)).join(" and ");
  const hangups = Math.floor(reloads / every.hangup);
  t.diagnostic(
    `${reloads} reloads, ${hangups} of them by SIGHUP, and ${Math.floor(reloads / every.edit)} edits in ${seconds} s`,
  );
  t.diagnostic(
    `${good + turnedAway} connections, ${offered} a second; refused good ${sum((run) => run.good.refused)}, sessions cut ${sum((run) => run.good.cut)}, admitted bad ${sum((run) => run.bad.connections - run.bad.refused)}`,
  );
  for (const [index, [name]] of processes.entries()) {
    const [before, after] = memory.map((all) => all[index]);
    t.diagnostic(
      `${name}: heap ${mebibytes(before?.heapUsed ?? 0)} MiB after ${warmUp} reloads, ${mebibytes(after?.heapUsed ?? 0)} MiB at the end; ` +
        `RSS ${mebibytes(before?.rss ?? 0)} and ${mebibytes(after?.rss ?? 0)} MiB`,
    );
  }
  t.diagnostic(`descriptors: ${descriptors.join(" and ")}`);

  assert.equal(daemon.records.filter(({ code }) => code === "reloaded").length, reloads);
  assert.equal(daemon.records.filter(({ code }) => code === "reload-refused").length, 0);
  for (const run of runs) {
    assert.match(run.good.line, /sessions cut 0, connections refused 0$/);
    assert.match(run.bad.line, new RegExp(`\\(connection ECONNRESET: ${run.bad.connections}\\)$`));
  }
  assert.ok((descriptors[1] ?? 0) <= (descriptors[0] ?? 0), "descriptors are given back");
  for (const [index, [name, pid]] of processes.entries()) {
    const [before, after] = memory.map((all) => all[index]);
    const heapMiB = mebibytes((after?.heapUsed ?? 0) - (before?.heapUsed ?? 0));
    const rssMiB = mebibytes((after?.rss ?? 0) - (before?.rss ?? 0));
    assert.ok(heapMiB <= allowance.heapMiB, `${name} ${pid}: ${heapMiB} MiB more in its heap`);
    assert.ok(rssMiB <= allowance.rssMiB, `${name} ${pid}: ${rssMiB} MiB more in all`);
  }
  assert.deepEqual(
    daemon.workers(),
    processes.slice(1).map(([, pid]) => pid),
    "nobody died",
  );

  const ids = (event: string): (string | undefined)[] =>
    daemon.records.filter((record) => record.event === event).map(({ id }) => id);
  const decided = [...ids("accept"), ...ids("refuse")];
  assert.equal(ids("accept").length, good + 2 * sessions);
  assert.equal(ids("refuse").length, turnedAway);
  assert.equal(new Set(decided).size, decided.length, "one record each decision");
  assert.deepEqual(new Set(ids("end")), new Set(ids("accept")));
  assert.equal(await daemon.end("SIGTERM"), 0);
});
