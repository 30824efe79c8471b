/** The wall clock is set while the daemon works: no decision, no limit and no window may depend on it. */

import assert from "node:assert/strict";
import { appendFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { command } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { startLoadProcess } from "../support/load.ts";
import { ask, open, talk } from "../support/peers.ts";
import { startEchoProcess } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

/** Only the wall clock jumps, as by settimeofday(2); timers and the monotonic clock go on. */
function faketime(folder: string): { environment: Record<string, string>; step: (seconds: number) => void } {
  const library = readdirSync("/usr/lib")
    .map((name) => join("/usr/lib", name, "faketime"))
    .flatMap((path) => {
      try {
        return readdirSync(path).includes("libfaketimeMT.so.1") ? [join(path, "libfaketimeMT.so.1")] : [];
      } catch {
        return [];
      }
    })[0];
  if (library === undefined) throw new Error("missing: libfaketime; run test/peers.sh as root");
  const file = join(folder, "faketime");
  writeFileSync(file, "+0\n");
  return {
    environment: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    },
    step: (seconds) => writeFileSync(file, `${seconds >= 0 ? "+" : ""}${seconds}\n`),
  };
}

const day = 24 * 60 * 60;

for (const [name, seconds] of [
  ["forward", day],
  ["back", -day],
] as const) {
  test(`I11: the clock is set a day ${name} under load: nobody is refused, nothing is cut, limits and windows last as long as before, and a worker that dies is replaced`, async (t) => {
    const clock = faketime(scratchFolder(t));
    const backend = await startEchoProcess(t);
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: `names: {reverse: never}\nservices: {sshd: {listen: ["127.0.0.1:0"], backend: "${backend}", idleTimeout: 4s}}\n`,
      allow: "sshd: 127.0.0.1\n",
      deny: "ALL: ALL\n",
      environment: clock.environment,
    });
    const port = daemon.port("sshd");
    const idle = await open(t, port);
    assert.equal(await ask(idle, "one"), "one");
    const idleEnded = new Promise<number>((resolve) => idle.once("close", () => resolve(performance.now())));
    const endLoad = startLoadProcess(t, port, { sessions: 5, perSecond: 50 });
    assert.equal((await command(daemon, "reload", "--confirm", "2500ms")).status, 0);
    appendFileSync(daemon.allowFile, "sshd: 127.0.0.66\n");
    assert.deepEqual(await talk(port, { say: "let in", from: "127.0.0.66" }), { text: "let in", end: "end" });

    clock.step(seconds);
    const steppedAt = performance.now();
    const isStepped = (time: unknown): boolean => Math.abs(Date.parse(String(time)) - Date.now()) > day * 500;
    await daemon.find(({ event, time }) => event === "accept" && isStepped(time));
    assert.ok(performance.now() - steppedAt < 2000);
    assert.equal(
      daemon.records.filter(({ code }) => code === "unconfirmed").length,
      0,
      "not before its time",
    );

    await daemon.find(({ code }) => code === "unconfirmed");
    const windowMs = performance.now() - steppedAt;
    assert.ok(windowMs > 500 && windowMs < 6000, `the window ended ${windowMs} ms after the step`);
    assert.equal((await talk(port, { from: "127.0.0.66", isHalfClosed: false })).end, "ECONNRESET");
    const idleMs = (await idleEnded) - steppedAt;
    assert.ok(idleMs > 1000 && idleMs < 8000, `the idle session was ended ${idleMs} ms after the step`);
    assert.match((await endLoad()).line, /^connections \d{2,}, sessions cut 0, connections refused 0$/);

    // A reload and the death of a worker are as quick as before.
    assert.equal((await command(daemon, "reload")).status, 0);
    const [worker = 0] = daemon.workers();
    const endSecond = startLoadProcess(t, port, { sessions: 0, perSecond: 50 });
    process.kill(worker, "SIGKILL");
    const killedAt = performance.now();
    await daemon.find(({ code }) => code === "worker-died");
    assert.deepEqual(await talk(port, { say: "next worker" }), { text: "next worker", end: "end" });
    const awayMs = performance.now() - killedAt;
    assert.ok(awayMs < 5000, `the next worker served ${awayMs} ms after the death`);
    assert.doesNotMatch((await endSecond()).line, /ECONNREFUSED|silent|garbled/);
    // An edit counts at once here too.
    writeFileSync(daemon.allowFile, "sshd: 127.0.0.1 127.0.0.67\n");
    assert.deepEqual(await talk(port, { say: "x", from: "127.0.0.67" }), { text: "x", end: "end" });
    for (const { event, durationMs } of daemon.records)
      if (event === "end")
        assert.ok(Number(durationMs) >= 0 && Number(durationMs) < 60_000, String(durationMs));
  });
}
