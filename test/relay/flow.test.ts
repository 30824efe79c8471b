/** One direction of the fast relay over ends that do what the test says: what sockets do not do on demand. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { findHandleAccess, type Handle } from "../../src/platform/node-handle.ts";
import { BufferPool } from "../../src/relay/buffers.ts";
import type { End } from "../../src/relay/ends.ts";
import { Flow } from "../../src/relay/flow.ts";

const access = await findHandleAccess();
const connectionReset = -104;
const KiB = 2 ** 10;

/** A flow whose writes are unfinished until the test says otherwise. */
function startFlow(pool = new BufferPool()) {
  const queue = { writeQueueSize: 0, takes: false };
  const heard: string[] = [];
  const handle = { reading: true, readStart: () => 0, readStop: () => 0 } as Partial<Handle> as Handle;
  const nothing = (): void => undefined;
  const end: Omit<End, "handle"> = {
    hear: nothing,
    read: nothing,
    takeEarly: () => undefined,
    replaceBuffer: nothing,
    wasReset: () => false,
    end: nothing,
    destroy: nothing,
    reset: nothing,
  };
  const write = (_handle: Handle, bytes: Uint8Array): number => {
    if (queue.takes) return 0;
    queue.writeQueueSize = bytes.length;
    return 1;
  };
  const flow = new Flow(
    { ...access, write },
    pool,
    { ...end, handle },
    { ...end, handle: queue as Partial<Handle> as Handle },
    {
      moved: () => heard.push("moved"),
      ended: () => heard.push("ended"),
      failed: (_to, status) => heard.push(`failed ${status}`),
      stalled: () => heard.push("stalled"),
    },
  );
  flow.start();
  return { flow, queue, heard };
}

test("D4: what the kernel has taken of a write that then fails is counted, as far as it was seen", () => {
  const { flow, queue, heard } = startFlow();
  flow.read(500);
  queue.writeQueueSize = 200;
  flow.sweep();
  queue.writeQueueSize = 0; // libuv clears it before it tells
  flow.written(connectionReset);
  assert.equal(flow.bytes, 300);
  assert.equal(heard.at(-1), `failed ${connectionReset}`);
});

test("D4: a session that is cut counts what the kernel has taken of a write, and its late end changes nothing", () => {
  const { flow, queue } = startFlow();
  flow.read(500);
  queue.writeQueueSize = 200;
  flow.stop();
  queue.writeQueueSize = 0;
  flow.written(connectionReset);
  assert.equal(flow.bytes, 300);
});

test("D2: a write that has not moved for a second has stalled, one that moves has not", () => {
  const { flow, queue, heard } = startFlow();
  flow.read(500);
  const told = (): string[] => heard.splice(0);
  assert.deepEqual(told(), ["moved"]);
  flow.sweep();
  assert.deepEqual(told(), [], "it is younger");
  flow.sweep();
  assert.deepEqual(told(), ["stalled"]);
  queue.writeQueueSize = 100;
  flow.sweep();
  assert.deepEqual(told(), ["moved"]);
  flow.sweep();
  assert.deepEqual(told(), ["stalled"]);
  flow.written(0);
  flow.sweep();
  assert.deepEqual(told(), ["moved"]);
});

/** Reads that fill the buffer, until it grows no more. */
function growFully({ flow, queue }: ReturnType<typeof startFlow>): number {
  queue.takes = true;
  for (let reads = 0; reads < 10; reads += 1) flow.read(flow.buffer.length);
  queue.takes = false;
  return flow.buffer.length;
}

test("D5: a slow flow gives its large buffer back when its write ends, where others wait for one", () => {
  const pool = new BufferPool();
  pool.limit({ allBytes: 2 ** 22, largestBytes: 2 ** 20 });
  const slow = startFlow(pool);
  assert.equal(growFully(slow), 1024 * KiB);
  slow.flow.read(slow.flow.buffer.length);
  slow.flow.sweep();
  slow.flow.sweep();
  const other = startFlow(pool);
  assert.equal(growFully(other), 256 * KiB);
  slow.flow.written(0);
  assert.equal(slow.flow.buffer.length, 16 * KiB);
  assert.equal(growFully(other), 1024 * KiB);
});

test("D5: a slow flow keeps its buffer where nobody waits", () => {
  const slow = startFlow();
  growFully(slow);
  slow.flow.read(slow.flow.buffer.length);
  slow.flow.sweep();
  slow.flow.sweep();
  slow.flow.written(0);
  assert.equal(slow.flow.buffer.length, 1024 * KiB);
});
