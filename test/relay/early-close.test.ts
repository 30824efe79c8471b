/** A peer that says its last words and closes while it is still being sent to: the words arrive, and then the reset. */

import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test } from "node:test";

import { makeFastRelay } from "../../src/relay/fast.ts";
import { findHandleAccess, handleOf, wasReset } from "../../src/platform/node-handle.ts";
import { referenceRelay } from "../../src/relay/reference.ts";
import { startSession } from "./support/session.ts";

const access = await findHandleAccess();

const relays = [
  ["reference", referenceRelay, undefined],
  ["fast", makeFastRelay(access), undefined],
  ["fast bare", makeFastRelay(access), access.bare],
] as const;

/** In one write: an end that writes again and again would meet the reset before it has read. */
const upload = Buffer.alloc(64 * 2 ** 20);

const rounds = 20;

for (const [name, relay, bare] of relays) {
  for (const words of [200, 20_000]) {
    for (const who of ["backend", "client"] as const) {
      test(`D4: ${name} relay: ${words} bytes of a ${who} that then closes, with much unread, arrive whole`, async () => {
        let whole = 0;
        for (let round = 0; round < rounds; round += 1) {
          const session = await startSession({ relay, bare });
          const [early, late] =
            who === "backend" ? [session.backend, session.client] : [session.client, session.backend];
          const last = Buffer.alloc(words, String(round));
          const heard = hear(late);
          late.write(upload);
          await readSome(early, round * 100_000);
          early.write(last, () => early.destroy());
          const { bytes, end } = await heard;
          const { upBytes, downBytes, cause } = await session.done;
          await session.close();
          assert.deepEqual([cause, end], [`${who}_reset`, "ECONNRESET"]);
          assert.equal(who === "backend" ? downBytes : upBytes, words);
          // This far end is a Node, which throws away what it has not read when a write of its own fails first.
          if (isWriteError(late.errored)) continue;
          assert.ok(bytes.equals(last), `${bytes.length} of ${words} bytes arrived`);
          whole += 1;
        }
        assert.ok(whole > 0);
      });
    }
  }
}

function isWriteError(error: NodeJS.ErrnoException | null): boolean {
  return error?.syscall === "write";
}

async function hear(socket: Socket): Promise<{ readonly bytes: Buffer; readonly end: string }> {
  const chunks: Buffer[] = [];
  let end = "";
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  // This end is a Node too: data and a reset in one turn look like an ordinary end to it.
  socket.on("end", () => {
    end ||= wasReset(handleOf(socket)) ? "ECONNRESET" : "end";
    socket.destroy();
  });
  socket.on("error", (error: NodeJS.ErrnoException) => (end ||= error.code ?? "error"));
  await new Promise((resolve) => socket.once("close", resolve));
  return { bytes: Buffer.concat(chunks), end };
}

/** Reads at least so much and leaves the rest in the kernel. */
async function readSome(socket: Socket, bytes: number): Promise<void> {
  let seen = 0;
  await new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      seen += chunk.length;
      if (seen < bytes) return;
      socket.pause();
      resolve();
    });
  });
  if (socket.readableLength > 0) await once(socket, "readable");
}

for (const [name, relay] of relays) {
  test(`D4: ${name} relay: words after an end, to a peer that is gone, do not keep the session`, async () => {
    for (let round = 0; round < rounds; round += 1) {
      const session = await startSession({ relay });
      const { client, backend } = session;
      backend.on("error", () => undefined).end();
      client.on("error", () => undefined).end(Buffer.alloc(1_000_000));
      await once(client.resume(), "end");
      backend.resetAndDestroy();
      const { cause } = await session.done;
      assert.match(cause, /^backend_/);
      await session.close();
    }
  });
}
