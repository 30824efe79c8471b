/** What every relay must do; the same rows for each implementation. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getDefaultHighWaterMark } from "node:stream";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { makeFastRelay } from "../../src/relay/fast.ts";
import { findHandleAccess, type BareAccess } from "../../src/platform/node-handle.ts";
import type { Wire } from "../../src/platform/wire.ts";
import { referenceRelay } from "../../src/relay/reference.ts";
import type { Relay } from "../../src/relay/relay.ts";
import { sweeps } from "../support/sweeps.ts";
import { checkIntegrity } from "./support/integrity.ts";
import { keepWriting } from "./support/keep-writing.ts";
import { howItEnds, readAll, readExactly, startSession, type Session } from "./support/session.ts";
import type { SessionOptions } from "./support/session.ts";

const access = await findHandleAccess();
assert.ok(access.bare, "this Node has bare connections");

const relays: readonly (readonly [name: string, relay: Relay, bare?: BareAccess])[] = [
  ["reference", referenceRelay],
  ["fast", makeFastRelay(access)],
  ["fast bare", makeFastRelay(access), access.bare],
];

const MiB = 2 ** 20;

for (const [name, relay, bare] of relays) {
  const row = (
    title: string,
    run: (session: Session) => Promise<void>,
    options: Omit<SessionOptions, "relay"> = {},
  ): void => {
    test(`${title}, by the ${name} relay`, { timeout: 30_000 }, async () => {
      const session = await startSession({ relay, bare, ...options });
      try {
        await run(session);
      } finally {
        await session.close();
      }
    });
  };

  row("D1: a 4 MiB answer after the client's half-close arrives whole", async ({ client, backend, done }) => {
    const answer = randomBytes(4 * MiB);
    client.end("question");
    assert.equal((await readAll(backend)).toString(), "question");
    backend.end(answer);
    assert.ok((await readAll(client)).equals(answer));
    assert.deepEqual(await done, { upBytes: 8, downBytes: 4 * MiB, cause: "client_closed" });
  });

  row("D1: 4 MiB from the client after the backend's half-close arrive whole", async (session) => {
    const { client, backend, done } = session;
    const late = randomBytes(4 * MiB);
    backend.end("greeting");
    assert.equal((await readAll(client)).toString(), "greeting");
    client.end(late);
    assert.ok((await readAll(backend)).equals(late));
    assert.deepEqual(await done, { upBytes: 4 * MiB, downBytes: 8, cause: "backend_closed" });
  });

  row("D1: each direction is closed by itself", async ({ client, backend, done }) => {
    client.end();
    await once(backend.resume(), "end");
    backend.write("still open");
    assert.equal((await readExactly(client, 10)).toString(), "still open");
    assert.equal(client.readableEnded, false);
    backend.end();
    await once(client.resume(), "end");
    assert.equal((await done).cause, "client_closed");
  });

  row(
    "D1: a client that is silent after the backend's end is let go when its time is over, and can still read all",
    async ({ client, backend, done }) => {
      const last = randomBytes(100_000);
      const seen = howItEnds(backend);
      client.pause();
      backend.end(last);
      const cause = { cause: "idle_timeout", detail: "half_closed" };
      assert.deepEqual(await done, { upBytes: 0, downBytes: last.length, ...cause });
      assert.equal(await seen, "ECONNRESET");
      assert.ok((await readAll(client)).equals(last));
    },
    { halfClosedMs: 300 },
  );

  row(
    "D1: every byte of the client after the backend's end begins its time anew",
    async ({ client, backend, done }) => {
      backend.end();
      await once(client.resume(), "end");
      for (let round = 0; round < 4; round += 1) {
        client.write("x");
        assert.equal((await readExactly(backend, 1)).toString(), "x");
        await sweeps(1);
      }
      client.end();
      assert.deepEqual(await done, { upBytes: 4, downBytes: 0, cause: "backend_closed" });
    },
    { halfClosedMs: 1500 },
  );

  row(
    "D1: a client that has ended waits for its answer without a limit",
    async ({ client, backend, done }) => {
      client.end("question");
      assert.equal((await readAll(backend)).toString(), "question");
      await sweeps(4);
      backend.end("answer");
      assert.equal((await readAll(client)).toString(), "answer");
      assert.deepEqual(await done, { upBytes: 8, downBytes: 6, cause: "client_closed" });
    },
    { halfClosedMs: 1 },
  );

  row("D2: a reset by the backend reaches the client as a reset within 100 ms", async (session) => {
    const { client, backend, done } = session;
    backend.write("x");
    await readExactly(client, 1);
    const seen = howItEnds(client);
    const startedMs = performance.now();
    backend.resetAndDestroy();
    assert.equal(await seen, "ECONNRESET");
    assert.ok(performance.now() - startedMs < 100);
    assert.deepEqual(await done, { upBytes: 0, downBytes: 1, cause: "backend_reset" });
  });

  row("D2: a reset by the backend is passed on while the client reads nothing", async (session) => {
    const { client, backend, done } = session;
    client.pause();
    await keepWriting(backend).stalled;
    backend.resetAndDestroy();
    assert.equal((await done).cause, "backend_reset");
    assert.equal(await howItEnds(client), "ECONNRESET");
  });

  row("D3: a reset by the client is passed on while the backend reads nothing", async (session) => {
    const { client, backend, done } = session;
    backend.pause();
    await keepWriting(client).stalled;
    client.resetAndDestroy();
    assert.equal((await done).cause, "client_reset");
    assert.equal(await howItEnds(backend), "ECONNRESET");
  });

  row("D2: last words of a backend that nobody takes keep no session", async ({ client, backend, done }) => {
    client.pause();
    backend.pause();
    // What the client says fails on its way, and so tells of the reset.
    const sent = [client, backend].map((socket) => keepWriting(socket));
    await Promise.all(sent.map(({ stalled }) => stalled));
    backend.resetAndDestroy();
    assert.equal((await done).cause, "backend_reset");
    await Promise.all(sent.map(({ stopped }) => stopped));
  });

  row(
    "D2: a client that has ended and reads late has the whole answer of a backend that is gone",
    async (session) => {
      const { client, backend, done } = session;
      client.end("question");
      await readAll(backend);
      client.pause();
      const sent = keepWriting(backend);
      await sent.stalled;
      sent.finish();
      await sweeps(3);
      assert.equal(sha256(await readAll(client)), sent.digest());
      assert.deepEqual(await done, { upBytes: 8, downBytes: sent.bytes(), cause: "client_closed" });
    },
  );

  row("D3: a reset by the client reaches the backend as a reset", async ({ client, backend, done }) => {
    client.write("x");
    await readExactly(backend, 1);
    const seen = howItEnds(backend);
    client.resetAndDestroy();
    assert.equal(await seen, "ECONNRESET");
    assert.deepEqual(await done, { upBytes: 1, downBytes: 0, cause: "client_reset" });
  });

  row("D3: a reset drops what the other side was still sending", async ({ client, backend, done }) => {
    const sent = keepWriting(backend);
    await readExactly(client, MiB);
    client.resetAndDestroy();
    await sent.stopped;
    const { downBytes, cause } = await done;
    assert.equal(cause, "client_reset");
    assert.ok(downBytes >= MiB, `${downBytes} bytes`);
    assert.ok(downBytes <= sent.bytes());
  });

  row("D4: a reset after the client's half-close is still a reset", async ({ client, backend, done }) => {
    client.end("q");
    await readAll(backend);
    const seen = howItEnds(client);
    backend.resetAndDestroy();
    assert.equal(await seen, "ECONNRESET");
    assert.deepEqual(await done, { upBytes: 1, downBytes: 0, cause: "backend_reset" });
  });

  row("D4: what was delivered before a reset is counted", async ({ client, backend, done }) => {
    backend.write(Buffer.alloc(300_000));
    await readExactly(client, 300_000);
    const seen = howItEnds(client);
    backend.resetAndDestroy();
    await seen;
    assert.deepEqual(await done, { upBytes: 0, downBytes: 300_000, cause: "backend_reset" });
  });

  row("D4: data and a reset that come in one turn are a reset, and the data counts", async (session) => {
    const { client, backend, done } = session;
    const seen = howItEnds(backend);
    client.write("last words");
    client.resetAndDestroy();
    assert.equal(await seen, "ECONNRESET");
    assert.deepEqual(await done, { upBytes: 10, downBytes: 0, cause: "client_reset" });
  });

  row("D4: the same from the backend", async ({ client, backend, done }) => {
    const seen = howItEnds(client);
    backend.write("last words");
    backend.resetAndDestroy();
    assert.equal(await seen, "ECONNRESET");
    assert.deepEqual(await done, { upBytes: 0, downBytes: 10, cause: "backend_reset" });
  });

  row("D5: a client that reads nothing stops the backend", async ({ client, backend, inner, done }) => {
    client.pause();
    const sent = keepWriting(backend);
    await sent.stalled;
    const held = inner.backend.bytesRead - takenBy(inner.client);
    assert.ok(held <= 1.3 * MiB, `${held} bytes held`);
    const seen = howItEnds(backend);
    client.resetAndDestroy();
    assert.equal(await seen, "ECONNRESET");
    assert.equal((await done).cause, "client_reset");
  });

  row("D5: a reader that starts late gets every byte in order", async ({ client, backend, done }) => {
    client.pause();
    const sent = keepWriting(backend);
    await sent.stalled;
    sent.finish();
    assert.equal(sha256(await readAll(client)), sent.digest());
    client.end();
    assert.deepEqual(await done, { upBytes: 0, downBytes: sent.bytes(), cause: "backend_closed" });
  });

  row("D6: 50 MB queued at the close arrive, then the end", async ({ client, backend, done }) => {
    const all = randomBytes(50_000_000);
    backend.end(all);
    assert.equal(sha256(await readAll(client)), sha256(all));
    client.end();
    assert.deepEqual(await done, { upBytes: 0, downBytes: 50_000_000, cause: "backend_closed" });
  });

  row("D7: a backend that speaks first is heard by a silent client", async ({ client, backend, done }) => {
    backend.write("SSH-2.0-test\r\n");
    assert.equal((await readExactly(client, 14)).toString(), "SSH-2.0-test\r\n");
    client.end();
    backend.end();
    assert.equal((await done).downBytes, 14);
  });

  const early = randomBytes(MiB);
  row(
    "D8: 1 MiB that the client sends before the dial arrives first and in order",
    async ({ client, backend, done }) => {
      client.end("tail");
      assert.ok((await readAll(backend)).equals(Buffer.concat([early, Buffer.from("tail")])));
      backend.end();
      assert.deepEqual(await done, { upBytes: MiB + 4, downBytes: 0, cause: "client_closed" });
    },
    {
      beforeDial: async (client) => {
        client.write(early);
      },
    },
  );

  row(
    "D9: a client that has reset before the relay resets the backend",
    async ({ backend, done }) => {
      assert.equal(await howItEnds(backend), "ECONNRESET");
      assert.deepEqual(await done, { upBytes: 0, downBytes: 0, cause: "client_reset" });
    },
    {
      beforeRelay: async ({ client }) => {
        client.resetAndDestroy();
        await once(client, "close");
      },
    },
  );

  row(
    "a client socket that is already destroyed resets the backend",
    async ({ backend, done }) => {
      assert.equal(await howItEnds(backend), "ECONNRESET");
      assert.deepEqual(await done, { upBytes: 0, downBytes: 0, cause: "client_gone" });
    },
    { beforeDial: async (_client, accepted) => accepted.destroy() },
  );

  row(
    "a backend that has reset before the relay resets the client",
    async ({ client, done }) => {
      assert.equal(await howItEnds(client), "ECONNRESET");
      assert.deepEqual(await done, { upBytes: 0, downBytes: 0, cause: "backend_reset" });
    },
    {
      beforeRelay: async ({ backend }) => {
        backend.resetAndDestroy();
        await once(backend, "close");
      },
    },
  );

  row(
    "D14: silence both ways for the idle time ends the session, with a reset to both",
    async ({ client, backend, done }) => {
      const startedMs = performance.now();
      const seen = await Promise.all([howItEnds(client), howItEnds(backend)]);
      assert.deepEqual(seen, ["ECONNRESET", "ECONNRESET"]);
      assert.deepEqual(await done, { upBytes: 0, downBytes: 0, cause: "idle_timeout" });
      assert.ok(performance.now() - startedMs >= 190);
    },
    { idleMs: 200 },
  );

  row(
    "D14: a byte in either direction renews the idle time",
    async ({ client, backend, done }) => {
      const startedMs = performance.now();
      for (let round = 0; round < 8; round += 1) {
        const [from, to] = round < 4 ? [client, backend] : [backend, client];
        await new Promise((resolve) => setTimeout(resolve, 100));
        from.write("x");
        await readExactly(to, 1);
      }
      client.end();
      backend.end();
      assert.deepEqual(await done, { upBytes: 4, downBytes: 4, cause: "client_closed" });
      assert.ok(performance.now() - startedMs > 700);
    },
    { idleMs: 300 },
  );

  row(
    "D14: outstanding data does not renew the idle time",
    async ({ client, backend, done }) => {
      client.pause();
      const sent = keepWriting(backend);
      await sent.stopped;
      assert.equal((await done).cause, "idle_timeout");
    },
    { idleMs: 300 },
  );

  const stop = new AbortController();
  row(
    "D15: an abort with data outstanding ends the session at once, with the cause given",
    async ({ client, backend, done }) => {
      client.pause();
      const sent = keepWriting(backend);
      await sent.stalled;
      const startedMs = performance.now();
      stop.abort("max_age");
      assert.equal((await done).cause, "max_age");
      await sent.stopped;
      assert.ok(performance.now() - startedMs < 1000);
    },
    { signal: stop.signal },
  );

  row(
    "an abort that came before the relay ends it at once",
    async ({ client, backend, done }) => {
      const seen = await Promise.all([howItEnds(client), howItEnds(backend)]);
      assert.deepEqual(seen, ["ECONNRESET", "ECONNRESET"]);
      assert.deepEqual(await done, { upBytes: 0, downBytes: 0, cause: "drain" });
    },
    { signal: AbortSignal.abort("drain") },
  );

  row(
    "a reset while the session's end waits for a slow reader is passed on, and every descriptor is closed",
    async ({ client, backend, inner, done }) => {
      client.pause();
      const sent = keepWriting(backend);
      await sent.stalled;
      sent.finish();
      client.resetAndDestroy();
      assert.equal((await done).cause, "client_reset");
      await Promise.all([inner.client, inner.backend].map(gone));
    },
  );

  test(`a unix-socket backend works both ways, by the ${name} relay`, { timeout: 30_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "relay-"));
    const session = await startSession({ relay, bare, backendPath: join(folder, "backend.sock") });
    try {
      const { client, backend, done } = session;
      client.end("question");
      assert.equal((await readAll(backend)).toString(), "question");
      backend.end("answer");
      assert.equal((await readAll(client)).toString(), "answer");
      assert.deepEqual(await done, { upBytes: 8, downBytes: 6, cause: "client_closed" });
    } finally {
      await session.close();
      await rm(folder, { recursive: true });
    }
  });

  test(
    `64 sessions, random chunks, slow readers, half-closes: every byte both ways, by the ${name} relay`,
    { timeout: 60_000 },
    async () => {
      await checkIntegrity(relay, 64, MiB, bare);
    },
  );

  test(
    `D13: 2000 short sessions, a third of them reset, leave no descriptor, by the ${name} relay`,
    { timeout: 60_000 },
    async () => {
      const before = descriptors();
      for (let batch = 0; batch < 50; batch += 1) {
        await Promise.all(Array.from({ length: 40 }, (_, at) => shortSession({ relay, bare }, at % 3 === 0)));
      }
      // The kernel's closes come back in the next turns of the loop.
      for (let turn = 0; turn < 1000 && descriptors() > before; turn += 1) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.ok(descriptors() <= before, `${before} descriptors before, ${descriptors()} after`);
    },
  );
}

async function shortSession(options: SessionOptions, isReset: boolean): Promise<void> {
  const session = await startSession(options);
  const { client, backend, inner, done } = session;
  client.write("x");
  await readExactly(backend, 1);
  if (isReset) client.resetAndDestroy();
  else client.end();
  backend.resume().end("y");
  if (!isReset) await readAll(client);
  await done;
  await Promise.all([inner.client, inner.backend].map(gone));
  await session.close();
}

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Bytes that the kernel has taken. */
function takenBy(wire: Wire): number {
  const { handle } = wire;
  if (handle !== undefined) return handle.bytesWritten - handle.writeQueueSize;
  return wire.socket().bytesWritten - wire.socket().writableLength;
}

/** Resolves when a connection has let go of its descriptor; a bare one does so when it is closed. */
async function gone(wire: Wire): Promise<void> {
  if (wire.destroyed) return;
  const socket = wire.socket();
  while (!socket.closed && (socket as { _handle?: unknown })._handle) await once(socket, "close");
}

test("D2: a client whose end waits behind bytes that nobody takes does not keep a session whose backend has reset, by the reference relay", async () => {
  const session = await startSession({ relay: referenceRelay });
  try {
    const { client, backend, inner, done } = session;
    backend.pause();
    // The kernel's buffers grow for a while, so a write that waits may go on still.
    for (let waits = 0; waits < 100; waits += 1) {
      if (inner.backend.socket().writableLength === 0) {
        client.write(Buffer.alloc(16_384));
        waits = 0;
      }
      await pause(1);
    }
    // What is left of the room behind the chunk that is being written; then the last words and the end wait in the client's stream.
    client.write(Buffer.alloc(getDefaultHighWaterMark(false) - 16_384));
    await pause(100);
    client.end("the last words");
    await pause(100);
    assert.ok(inner.client.socket().readableLength > 0, "they wait");
    backend.resetAndDestroy();
    assert.equal((await done).cause, "backend_reset");
  } finally {
    await session.close();
  }
});
