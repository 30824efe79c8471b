/** Many sessions at once with random chunks, slow readers and half-closes: every byte is hashed at both ends. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";

import type { BareAccess } from "../../../src/platform/node-handle.ts";
import type { Relay } from "../../../src/relay/relay.ts";
import { type SessionOptions, startSession } from "./session.ts";

/** @param bytes of each session, each way */
export async function checkIntegrity(
  relay: Relay,
  sessions: number,
  bytes: number,
  bare?: BareAccess,
): Promise<void> {
  await Promise.all(Array.from({ length: sessions }, (_, seed) => oneSession({ relay, bare }, seed, bytes)));
}

async function oneSession(options: SessionOptions, seed: number, bytes: number): Promise<void> {
  const session = await startSession(options);
  try {
    const { client, backend, done } = session;
    // Every fourth session answers only when the question has ended; every third reader is slow.
    const isHalfDuplex = seed % 4 === 0;
    const heardUp = receive(backend, seed % 3 === 0);
    const heardDown = receive(client, seed % 3 === 1);
    const sentUp = send(client, bytes, seed + 1);
    if (isHalfDuplex) await heardUp;
    const sentDown = send(backend, bytes, seed + 1001);
    assert.equal(await heardUp, await sentUp);
    assert.equal(await heardDown, await sentDown);
    const { upBytes, downBytes, cause } = await done;
    assert.deepEqual([upBytes, downBytes], [bytes, bytes]);
    assert.match(cause, /^(client|backend)_closed$/);
    if (isHalfDuplex) assert.equal(cause, "client_closed");
  } finally {
    await session.close();
  }
}

const pool = randomBytes(2 ** 20);

/** Slices of random size from random places of a random block, then the end; gives the hash. */
async function send(socket: Socket, bytes: number, seed: number): Promise<string> {
  const hash = createHash("sha256");
  const next = random(seed);
  for (let left = bytes; left > 0;) {
    const most = [100, 5000, 70_000, 400_000][next(4)] ?? 1;
    const size = Math.min(left, 1 + next(most));
    const at = next(pool.length - size);
    const chunk = pool.subarray(at, at + size);
    hash.update(chunk);
    left -= size;
    if (!socket.write(chunk)) await once(socket, "drain");
  }
  socket.end();
  return hash.digest("hex");
}

async function receive(socket: Socket, isSlow: boolean): Promise<string> {
  const hash = createHash("sha256");
  let heard = 0;
  socket.on("data", (chunk: Buffer) => {
    hash.update(chunk);
    heard += chunk.length;
    if (!isSlow || heard < 200_000) return;
    heard = 0;
    socket.pause();
    setTimeout(() => socket.resume(), 2);
  });
  await once(socket, "end");
  return hash.digest("hex");
}

/** Numbers below a limit, the same for the same seed. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
