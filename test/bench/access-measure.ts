/** Measures one table in this process and prints the figures as JSON: access-measure.ts FILE SIZE. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import type * as decideModule from "../../src/access/decide.ts";
import type * as backgroundModule from "../../src/config/load-background.ts";
import { denyTable, generator, type DenyRule } from "./access-table.ts";

type Decide = Pick<typeof decideModule, "decide">;
type Background = Pick<typeof backgroundModule, "loadTablesInBackground">;

/** The figures of one table. */
export interface Measured {
  readonly medianUs: number;
  readonly p99Us: number;
  readonly loadSeconds: number;
  /** Over the empty process, after the load and while it went on. */
  readonly memoryMB: number;
  readonly mostMemoryMB: number;
  /** The longest time that the event loop did not come round, others on the machine counted. */
  readonly pauseMs: number;
  /** The longest time that its thread was busy between two rounds. */
  readonly busyMs: number;
  /** Processor time of one decision, on average. */
  readonly cpuUs: number;
}

const dist = new URL("../../dist/", import.meta.url).href;
const { loadTablesInBackground } = (await import(`${dist}config/load-background.js`)) as Background;
const { decide } = (await import(`${dist}access/decide.js`)) as Decide;

const [file = "", size = ""] = process.argv.slice(2);
const options = { allow: "/nonexistent", deny: file, noMatch: "allow" } as const;

globalThis.gc?.();
await pause(100);
const empty = process.memoryUsage().rss;
let most = 0;
let busyMs = 0;
let busyBefore = threadMs();
const sampler = setInterval(() => {
  const busy = threadMs();
  busyMs = Math.max(busyMs, busy - busyBefore);
  most = Math.max(most, process.memoryUsage.rss());
  busyBefore = threadMs();
}, 1);
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
await pause(20);
const start = performance.now();
const { tables, denyRules } = await loadTablesInBackground(options);
const loadSeconds = (performance.now() - start) / 1000;
await pause(20);
delay.disable();
clearInterval(sampler);
globalThis.gc?.();
await pause(200);
const memory = process.memoryUsage().rss;

const rules: DenyRule[] = [];
const step = Math.max(1, Math.floor(Number(size) / 1000));
let number = 0;
for (const rule of denyTable(Number(size))) if (number++ % step === 0) rules.push(rule);
assert.equal(denyRules, number);
const random = generator(7);
const server = { address: "10.0.0.1", port: 22 };
const hits = rules.map(({ client }) => ({ daemon: "sshd", client, server, user: "unknown" }));
const misses = hits.map((_, index) => ({
  daemon: "sshd",
  client: { address: `240.${random(256)}.${random(256)}.${random(256)}`, name: `client${index}.example.org` },
  server,
  user: "unknown",
}));
for (const [index, request] of hits.entries()) {
  const verdict = decide(tables, request);
  assert.equal(verdict.kind === "refuse" && verdict.rule?.line, rules[index]?.first);
}
for (const request of misses) assert.equal(decide(tables, request).kind, "allow");

const questions = hits.flatMap((hit, index) => [hit, misses[index]!]);
const times = new Float64Array(Math.max(200_000, questions.length * 20));
// The last round counts; those before it warm up.
for (let round = 0; round < 4; round++) {
  for (let index = 0; index < times.length; index++) {
    const request = questions[index % questions.length]!;
    const before = performance.now();
    decide(tables, request);
    times[index] = performance.now() - before;
  }
}
times.sort();
const usage = process.cpuUsage();
for (let index = 0; index < times.length; index++) decide(tables, questions[index % questions.length]!);
const { user, system } = process.cpuUsage(usage);
const measured: Measured = {
  busyMs,
  cpuUs: (user + system) / times.length,
  medianUs: (times[times.length >> 1] ?? 0) * 1000,
  p99Us: (times[Math.floor(times.length * 0.99)] ?? 0) * 1000,
  loadSeconds,
  memoryMB: (memory - empty) / 1e6,
  mostMemoryMB: (most - empty) / 1e6,
  pauseMs: delay.max / 1e6,
};
console.log(JSON.stringify(measured));

/** Milliseconds that the thread of the event loop has run: proc(5), schedstat. */
function threadMs(): number {
  const [ran = "0"] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  return Number(ran) / 1e6;
}
