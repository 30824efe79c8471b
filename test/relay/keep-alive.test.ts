/** Which sessions get keep-alive, and when. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { KeepAlives, type Joined } from "../../src/relay/keep-alive.ts";

const roundMs = 5000;

interface Fake {
  readonly joined: Joined;
  /** What was set on each side. */
  readonly set: number[];
}

function session(keepAliveMs: number): Fake {
  const set: number[] = [];
  const side = { keepAlive: (afterMs: number) => void set.push(afterMs) };
  return { joined: { client: side, backend: side, keepAliveMs }, set };
}

function start(t: TestContext): KeepAlives {
  t.mock.timers.enable({ apis: ["setInterval"] });
  return new KeepAlives(roundMs);
}

test("D12: a session that lives through a whole round gets keep-alive on both sides, once", (t) => {
  const keepAlives = start(t);
  const { joined, set } = session(7_200_000);
  keepAlives.watch(joined);
  t.mock.timers.tick(roundMs);
  assert.deepEqual(set, []);
  t.mock.timers.tick(roundMs);
  assert.deepEqual(set, [7_200_000, 7_200_000]);
  t.mock.timers.tick(24 * 3_600_000);
  assert.equal(set.length, 2);
});

test("D12: sessions that end earlier cost no system call", (t) => {
  const keepAlives = start(t);
  const [first, second] = [session(1000), session(1000)];
  for (const { joined } of [first, second]) keepAlives.watch(joined);
  keepAlives.forget(first.joined);
  t.mock.timers.tick(roundMs);
  keepAlives.forget(second.joined);
  t.mock.timers.tick(10 * roundMs);
  assert.deepEqual([first.set, second.set], [[], []]);
});

const rows: [keepAliveMs: number, set: number, because: string][] = [
  [1, 1000, "the kernel takes whole seconds"],
  [90_000, 90_000, "a minute and a half"],
  [86_400_000, 32_767_000, "and no more of them than 32767"],
];
for (const [keepAliveMs, set, because] of rows) {
  test(`D12: keep-alive after ${keepAliveMs} ms is set as ${set}: ${because}`, (t) => {
    const keepAlives = start(t);
    const fake = session(keepAliveMs);
    keepAlives.watch(fake.joined);
    t.mock.timers.tick(2 * roundMs);
    assert.deepEqual(fake.set, [set, set]);
  });
}
