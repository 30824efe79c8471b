import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { Socket } from "node:net";
import { Lingers } from "../../src/act/linger.ts";
import { connectPair, readToEnd } from "../support/pair.ts";

/** More than both kernels will take of a client that reads nothing. */
const tooMuch = Buffer.alloc(16 * 1024 * 1024, "x");

/** Fills what the kernel takes, ends our side, and destroys it as a relay does when it is over. */
async function fillAndEnd(accepted: Socket, client: Socket): Promise<void> {
  client.pause();
  // What fits is in the kernel, unsent, and Node holds nothing back: that is how a relay ends.
  while (accepted.write(Buffer.alloc(65_536, "x"))) await new Promise((resolve) => setImmediate(resolve));
  accepted.destroy();
}

for (const host of ["127.0.0.1", "::1"])
  test(`linger on ${host}: a client that has all its bytes is let go at once, by FIN`, async (t) => {
    const { accepted, client } = await connectPair(t, host);
    const lingers = new Lingers({ maxLingering: 10 });
    lingers.watch(accepted, 60);
    const seen = readToEnd(client);
    accepted.end("bye");
    await once(accepted, "finish");
    accepted.destroy();
    assert.equal(accepted.destroyed, true);
    assert.deepEqual(await seen, { text: "bye", end: "end" });
    await closed(accepted);
    assert.equal(lingers.lingering, 0);
  });

for (const host of ["127.0.0.1", "::1"])
  test(`linger on ${host}: unsent bytes get their time, then a reset`, async (t) => {
    const { accepted, client } = await connectPair(t, host);
    const lingers = new Lingers({ maxLingering: 10 });
    lingers.watch(accepted, 1);
    const endedAt = performance.now();
    await fillAndEnd(accepted, client);
    assert.equal(lingers.lingering, 1);
    await closed(accepted);
    const lasted = performance.now() - endedAt;
    assert.ok(lasted >= 1000 && lasted < 5000, `${lasted} ms`);
    assert.equal(lingers.lingering, 0);
    assert.equal(await writeFails(client), true);
  });

test("linger: a slow client that reads within the time gets every byte", async (t) => {
  const { accepted, client } = await connectPair(t);
  const lingers = new Lingers({ maxLingering: 10 });
  lingers.watch(accepted, 60);
  client.pause();
  let sent = 0;
  while (accepted.write(tooMuch.subarray(0, 65_536))) {
    sent += 65_536;
    await new Promise((resolve) => setImmediate(resolve));
  }
  sent += 65_536;
  accepted.end();
  accepted.once("finish", () => accepted.destroy());
  const seen = readToEnd(client);
  client.resume();
  assert.deepEqual([(await seen).text.length, (await seen).end], [sent, "end"]);
  await closed(accepted);
});

test("linger 0: the end is a reset", async (t) => {
  const { accepted, client } = await connectPair(t);
  const lingers = new Lingers({ maxLingering: 10 });
  lingers.watch(accepted, 0);
  const seen = readToEnd(client);
  accepted.destroy();
  assert.equal((await seen).end, "reset");
  await closed(accepted);
});

test("linger: a reset stays a reset", async (t) => {
  const { accepted, client } = await connectPair(t);
  const lingers = new Lingers({ maxLingering: 10 });
  lingers.watch(accepted, 60);
  await fillAndReset(accepted, client);
  await closed(accepted);
  assert.equal(lingers.lingering, 0);
  assert.equal(await writeFails(client), true);
});

test("linger: a client that is reset from its side is let go", async (t) => {
  const { accepted, client } = await connectPair(t);
  const lingers = new Lingers({ maxLingering: 10 });
  lingers.watch(accepted, 60);
  await fillAndEnd(accepted, client);
  client.resetAndDestroy();
  await closed(accepted);
  assert.equal(lingers.lingering, 0);
});

test("linger: one client more than maxLingering is left to the kernel", async (t) => {
  const lingers = new Lingers({ maxLingering: 1 });
  const [first, second] = [await connectPair(t), await connectPair(t)];
  for (const { accepted, client } of [first, second]) {
    lingers.watch(accepted, 60);
    await fillAndEnd(accepted, client);
  }
  await closed(second.accepted);
  assert.equal(lingers.lingering, 1);
  lingers.close();
  await closed(first.accepted);
  assert.equal(lingers.lingering, 0);
});

async function fillAndReset(accepted: Socket, client: Socket): Promise<void> {
  client.pause();
  while (accepted.write(Buffer.alloc(65_536, "x"))) await new Promise((resolve) => setImmediate(resolve));
  accepted.resetAndDestroy();
}

async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
}

/** After RST a first write fails; after FIN it goes out. Node's reading side cannot tell where bytes came before. */
async function writeFails(client: Socket): Promise<boolean> {
  return await new Promise((resolve) => {
    client.once("error", () => resolve(true));
    client.write("x", (error) => resolve(error !== undefined && error !== null));
  });
}
