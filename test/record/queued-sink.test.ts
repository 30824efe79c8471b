import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { after, test } from "node:test";

import type { Outlet } from "../../src/platform/outlet.ts";
import { QueuedSink } from "../../src/record/queued-sink.ts";
import type { Level, LogRecord } from "../../src/record/records.ts";
import { sentence } from "../../src/record/words.ts";

// A sink's own timers do not keep a process alive, and here nothing else would.
const alive = setInterval(() => undefined, 1000);
after(() => clearInterval(alive));

/** An outlet that does as it is told: takes all, takes so many, waits until it is told to go on, or rejects. */
class Scripted extends EventEmitter implements Outlet {
  readonly lines: string[] = [];
  readonly batches: number[] = [];
  behaviour: number | "all" | "wait" | Error = "all";
  isClosed = false;

  async send(lines: readonly string[]): Promise<number> {
    this.batches.push(lines.length);
    this.emit("sending");
    if (this.behaviour === "wait") await once(this, "go");
    if (this.isClosed) throw new Error("closed");
    if (this.behaviour instanceof Error) throw this.behaviour;
    const taken = typeof this.behaviour === "number" ? this.behaviour : lines.length;
    this.lines.push(...lines.slice(0, taken));
    this.emit("taken");
    return taken;
  }

  close(): void {
    this.isClosed = true;
    this.emit("go");
  }

  async until(count: number): Promise<void> {
    const signal = AbortSignal.timeout(5000);
    while (this.lines.length < count) await once(this, "taken", { signal });
  }
}

function record(text: string, level: Level = "info"): LogRecord {
  return { timeMs: 0, level, tag: "tcpwrapd", fields: { event: "stopped", detail: text } };
}

function sinkOn(outlet: Outlet, maxQueued?: number): QueuedSink {
  return new QueuedSink({
    name: "scripted",
    form: ({ fields }) => sentence(fields),
    outlet,
    ...(maxQueued && { maxQueued }),
  });
}

test("lines of one turn of the event loop go out together, in order", async () => {
  const outlet = new Scripted();
  const sink = sinkOn(outlet);
  for (let count = 0; count < 100; count++) sink.write(record(`${count}`));
  assert.deepEqual(outlet.batches, []);
  await outlet.until(100);
  assert.deepEqual(outlet.batches, [100]);
  assert.deepEqual(
    outlet.lines,
    Array.from({ length: 100 }, (_, count) => `stopped: ${count}`),
  );
  await sink.close(100);
  assert.ok(outlet.isClosed);
});

test("lines that follow a send gather for a moment, and a close does not wait for it", async () => {
  const outlet = new Scripted();
  const sink = sinkOn(outlet);
  sink.write(record("first"));
  await outlet.until(1);
  sink.write(record("second"));
  await new Promise(setImmediate); // another turn of the event loop
  sink.write(record("third"));
  await outlet.until(3);
  assert.deepEqual(outlet.batches, [1, 2]);
  sink.write(record("last"));
  await sink.close(5000);
  assert.deepEqual(outlet.batches, [1, 2, 1]);
  assert.equal(sink.state().lostLines, 0);
});

test("K3: what a full receiver did not take is sent again from there, nothing twice", async () => {
  const outlet = new Scripted();
  outlet.behaviour = 1;
  const sink = sinkOn(outlet);
  for (const text of ["a", "b", "c"]) sink.write(record(text));
  await outlet.until(3);
  assert.deepEqual(outlet.lines, ["stopped: a", "stopped: b", "stopped: c"]);
  await sink.close(100);
});

test("K3: a queue that is full loses info before warnings, counts them, and tells the number where the gap is", async () => {
  const outlet = new Scripted();
  outlet.behaviour = "wait";
  const sink = sinkOn(outlet, 1000);
  for (let count = 0; count < 100; count++) sink.write(record(`info ${count}`));
  const { queuedLines, lostLines } = sink.state();
  assert.equal(queuedLines + lostLines, 100);
  assert.ok(lostLines > 40, `${lostLines} lost`);
  sink.write(record("warning", "warn"));
  assert.equal(sink.state().lostLines, lostLines, "a warning has the last quarter");
  await once(outlet, "sending");
  outlet.behaviour = "all";
  outlet.emit("go");
  await outlet.until(queuedLines + 2);
  assert.deepEqual(outlet.lines.slice(-2), ["stopped: warning", `lost ${lostLines} lines`]);
  sink.write(record("after"));
  await outlet.until(queuedLines + 3);
  assert.equal(outlet.lines.at(-1), "stopped: after");
  await sink.close(100);
});

test("K2: trouble is told once when it begins and once when it is over, with the number of lines lost", async () => {
  const outlet = new Scripted();
  outlet.behaviour = new Error("No such file or directory");
  const sink = sinkOn(outlet, 100);
  const told: (string | number)[] = [];
  sink.onTrouble = (reason) => void told.push(reason);
  sink.onReturn = (lost) => void told.push(lost);
  for (let count = 0; count < 50; count++) sink.write(record(`${count}`));
  const { queuedLines, lostLines } = sink.state();
  await once(outlet, "sending");
  await once(outlet, "sending");
  assert.equal(sink.state().trouble, "No such file or directory");
  outlet.behaviour = "all";
  await outlet.until(queuedLines + 1);
  assert.deepEqual(told, ["No such file or directory", lostLines]);
  assert.equal(outlet.lines.at(-1), `lost ${lostLines} lines`);
  assert.equal(sink.state().trouble, undefined);
  await sink.close(100);
});

test("close delivers what is queued", async () => {
  const outlet = new Scripted();
  const sink = sinkOn(outlet);
  for (let count = 0; count < 1000; count++) sink.write(record(`${count}`));
  await sink.close(5000);
  assert.equal(outlet.lines.length, 1000);
  assert.deepEqual(sink.state(), { name: "scripted", queuedLines: 0, lostLines: 0 });
});

test("close gives up at its limit on a receiver that takes nothing, and counts what is left as lost", async () => {
  for (const behaviour of ["wait", 0, new Error("away")] as const) {
    const outlet = new Scripted();
    outlet.behaviour = behaviour;
    const sink = sinkOn(outlet);
    sink.write(record("one"));
    const begun = performance.now();
    await sink.close(50);
    assert.ok(performance.now() - begun < 1000);
    assert.deepEqual([sink.state().queuedLines, sink.state().lostLines], [0, 1]);
    sink.write(record("late"));
    assert.equal(sink.state().lostLines, 2);
  }
});

test("a record that cannot be formed is lost and told, and nothing throws", async () => {
  const outlet = new Scripted();
  const sink = new QueuedSink({
    name: "broken",
    outlet,
    form: () => {
      throw new Error("no form");
    },
  });
  const told: string[] = [];
  sink.onTrouble = (reason) => void told.push(reason);
  sink.write(record("x"));
  assert.deepEqual([told, sink.state().lostLines], [["no form"], 1]);
  await sink.close(10);
});

test("K7: delivered resolves once the outlet has what was written before, and not for what comes later", async () => {
  const outlet = new Scripted();
  const sink = sinkOn(outlet);
  assert.equal(await sink.delivered(), true, "nothing was written");
  outlet.behaviour = "wait";
  sink.write(record("one"));
  let isDelivered: boolean | undefined;
  const delivered = sink.delivered().then((answer) => (isDelivered = answer));
  await once(outlet, "sending");
  assert.equal(isDelivered, undefined);
  sink.write(record("later"));
  outlet.behaviour = 1;
  outlet.emit("go");
  assert.equal(await delivered, true);
  await sink.close(100);
});

test("K7: delivered is false where the receiver is away, the line did not fit, or the sink is closing", async () => {
  const away = new Scripted();
  away.behaviour = new Error("away");
  const sink = sinkOn(away);
  sink.write(record("one"));
  assert.equal(await sink.delivered(), false);
  assert.equal(await sink.delivered(), false, "it is known by now");
  await sink.close(10);
  assert.equal(await sink.delivered(), false);

  const full = sinkOn(new Scripted(), 1);
  full.write(record("does not fit"));
  assert.equal(await full.delivered(), false);
  await full.close(10);
});

test("a receiver that comes and goes all the time is told of once", async () => {
  const outlet = new Scripted();
  const sink = sinkOn(outlet);
  const told: unknown[] = [];
  sink.onTrouble = (reason) => void told.push(reason);
  sink.onReturn = (lost) => void told.push(lost);
  for (let round = 0; round < 3; round++) {
    outlet.behaviour = new Error("refused");
    sink.write(record(`${round}`));
    await once(outlet, "sending");
    outlet.behaviour = "all";
    await outlet.until(round + 1);
  }
  assert.deepEqual(told, ["refused", 0]);
  await sink.close(100);
});
