import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Lingers } from "../../src/act/linger.ts";
import { makeFastRelay } from "../../src/relay/fast.ts";
import { findHandleAccess } from "../../src/platform/node-handle.ts";
import { Wire } from "../../src/platform/wire.ts";
import { referenceRelay } from "../../src/relay/reference.ts";
import { connectPair } from "../support/pair.ts";

const relays = [
  ["reference", async () => referenceRelay],
  ["fast", async () => makeFastRelay(await findHandleAccess())],
] as const;

for (const [name, makeRelay] of relays)
  test(`linger after the ${name} relay: unsent bytes get their second, then a reset`, async (t) => {
    const relay = await makeRelay();
    const [front, back] = [await connectPair(t), await connectPair(t)];
    const lingers = new Lingers({ maxLingering: 10 });
    lingers.watch(front.accepted, 1);
    const relaying = relay(Wire.of(front.accepted), Wire.of(back.client), { idleMs: 0 });
    // The client has said all, the backend answers and ends; the answer fits into the kernel's buffers and is never read.
    front.client.pause();
    front.client.end("question");
    back.accepted.end(Buffer.alloc(512 * 1024, "x"));
    back.accepted.resume();
    await once(back.accepted, "end");
    const endedAt = performance.now();
    if (!front.accepted.closed) await new Promise((resolve) => front.accepted.once("close", resolve));
    const lasted = performance.now() - endedAt;
    assert.ok(lasted > 900 && lasted < 5000, `${lasted} ms`);
    const { upBytes, downBytes, cause } = await relaying;
    assert.deepEqual([upBytes, downBytes], [8, 512 * 1024]);
    assert.match(cause, /closed$/);
  });
