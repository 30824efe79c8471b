/** Who gets which buffer, when clients that read nothing hold all there are. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { findHandleAccess, type HandleAccess } from "../../src/platform/node-handle.ts";
import { BufferPool } from "../../src/relay/buffers.ts";
import { makeFastRelay } from "../../src/relay/fast.ts";
import { keepWriting } from "./support/keep-writing.ts";
import { readAll, type Session, startSession } from "./support/session.ts";

const access = await findHandleAccess();
const MiB = 2 ** 20;

function poolOf(allBytes: number, largestBytes = MiB): BufferPool {
  const pool = new BufferPool();
  pool.limit({ allBytes, largestBytes });
  return pool;
}

test("D5: the largest buffers are lent up to half of all, the next ones up to all, modest ones always", () => {
  const pool = poolOf(4 * MiB);
  const largest = [pool.take(3), pool.take(3)];
  assert.deepEqual(
    largest.map((buffer) => buffer?.length),
    [MiB, MiB],
  );
  assert.equal(pool.isShort, false);
  assert.equal(pool.take(3), undefined);
  assert.equal(pool.isShort, true);
  for (let at = 0; at < 8; at += 1) assert.equal(pool.take(2)?.length, MiB / 4);
  assert.equal(pool.take(2), undefined);
  for (let at = 0; at < 1000; at += 1) assert.equal(pool.take(1).length, 16_384);
  assert.equal(pool.take(0).length, 512);
});

test("no buffer is larger than the setting says, and to ask for one is no sign of want", () => {
  const pool = poolOf(64 * MiB, MiB / 2);
  assert.equal(pool.take(3), undefined);
  assert.equal(pool.take(2)?.length, MiB / 4);
  assert.equal(pool.isShort, false);
  pool.limit({ allBytes: 64 * MiB, largestBytes: 16_384 });
  assert.equal(pool.take(2), undefined);
  assert.equal(pool.take(1).length, 16_384);
  pool.limit({ allBytes: 64 * MiB, largestBytes: MiB });
  assert.equal(pool.take(3)?.length, MiB);
});

test("D5: it is short of buffers until less than half are in use", () => {
  const pool = poolOf(MiB);
  const buffers = Array.from({ length: 4 }, () => pool.take(2)).filter((buffer) => buffer !== undefined);
  assert.equal(buffers.length, 4);
  assert.equal(pool.take(2), undefined);
  const seen = buffers.map((buffer) => {
    pool.give(2, buffer);
    return pool.isShort;
  });
  assert.deepEqual(seen, [true, true, false, false]);
});

for (const [name, bare] of [["bare handles", access.bare] as const, ["sockets", undefined] as const]) {
  test(`D5: where clients that read nothing hold all large buffers, others move bulk by modest ones (${name})`, async () => {
    const pool = poolOf(2 * MiB);
    const isUsedUp = (): boolean => {
      const buffer = pool.take(2);
      if (buffer !== undefined) pool.give(2, buffer);
      return buffer === undefined;
    };
    let longest = 0;
    const counting: HandleAccess = {
      ...access,
      write: (handle, bytes, waiter) => {
        longest = Math.max(longest, bytes.length);
        return access.write(handle, bytes, waiter);
      },
    };
    const [relay, countingRelay] = [makeFastRelay(access, pool), makeFastRelay(counting, pool)];
    const sessions: Session[] = [];
    try {
      while (!isUsedUp() && sessions.length < 50) {
        const session = await startSession({ relay, bare });
        sessions.push(session);
        session.client.pause();
        await keepWriting(session.backend).stalled;
      }
      assert.ok(isUsedUp(), `after ${sessions.length} sessions`);
      const last = await startSession({ relay: countingRelay, bare });
      sessions.push(last);
      last.backend.end(Buffer.alloc(8 * MiB));
      assert.equal((await readAll(last.client)).length, 8 * MiB);
      assert.equal(longest, 16_384);
    } finally {
      await Promise.all(sessions.map((session) => session.close()));
    }
  });
}
