import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { mock, test } from "node:test";
import { Refusals } from "../../src/act/refuse.ts";
import type { RefusalKind, RefusalLimits } from "../../src/act/refuse.ts";
import { connectPair, readToEnd } from "../support/pair.ts";

const limits: RefusalLimits = { maxHeld: 2, holdMs: 60_000, maxClosing: 10, closeMs: 60_000 };

const rows: [kind: RefusalKind, sent: string, end: "end" | "reset", because: string][] = [
  ["reset", "", "reset", "E1, difference 3: a client that has sent nothing sees RST"],
  ["reset", "SSH-2.0-x\r\n", "reset", "E1: a client that has sent something sees RST"],
  ["close", "", "end", "E2: a client that has sent nothing sees FIN"],
  ["close", "SSH-2.0-x\r\n", "end", "E2: unread bytes of the client do not turn FIN into RST"],
];
for (const [kind, sent, end, because] of rows)
  test(`${because} (${kind})`, async (t) => {
    const { accepted, client } = await connectPair(t);
    const refusals = new Refusals(limits);
    if (sent !== "") await written(client, sent);
    const seen = readToEnd(client);
    const gone = refusals.refuse(accepted, kind);
    assert.deepEqual(await seen, { text: "", end });
    client.destroy();
    await gone;
    assert.equal(accepted.destroyed, true);
  });

test("E2: close lets a client that is still sending finish without RST", async (t) => {
  const { accepted, client } = await connectPair(t);
  const seen = readToEnd(client);
  const gone = new Refusals(limits).refuse(accepted, "close");
  for (let i = 0; i < 20; i++) await written(client, "x".repeat(4096));
  assert.equal((await seen).end, "end");
  client.end();
  await gone;
});

test("E2: close after a banner sends the banner, then FIN", async (t) => {
  const { accepted, client } = await connectPair(t);
  await written(client, "unread");
  accepted.write("go away\r\n");
  const seen = readToEnd(client);
  const gone = new Refusals(limits).refuse(accepted, "close");
  assert.deepEqual(await seen, { text: "go away\r\n", end: "end" });
  client.end();
  await gone;
});

test("close gives up a client that never ends, after closeMs", async (t) => {
  const { accepted, client } = await connectPair(t);
  const seen = readToEnd(client);
  const gone = new Refusals({ ...limits, closeMs: 20 }).refuse(accepted, "close");
  assert.equal((await seen).end, "end");
  await gone;
});

test("close resets when too many are closing already", async (t) => {
  const [first, second] = [await connectPair(t), await connectPair(t)];
  const refusals = new Refusals({ ...limits, maxClosing: 1 });
  const gone = refusals.refuse(first.accepted, "close");
  const seen = readToEnd(second.client);
  await refusals.refuse(second.accepted, "close");
  assert.equal((await seen).end, "reset");
  refusals.close();
  await gone;
});

test("E1: reset after a banner waits until the client has read it and goes, then is still a reset", async (t) => {
  const { accepted, client } = await connectPair(t);
  accepted.write("go away\r\n");
  const gone = new Refusals(limits).refuse(accepted, "reset");
  const seen = readToEnd(client);
  await once(client, "data");
  client.end();
  assert.deepEqual(await seen, { text: "go away\r\n", end: "reset" });
  await gone;
});

test("E1: reset after a banner comes after closeMs when the client stays", async (t) => {
  const { accepted, client } = await connectPair(t);
  accepted.write("go away\r\n");
  const seen = readToEnd(client);
  await new Refusals({ ...limits, closeMs: 20 }).refuse(accepted, "reset");
  assert.deepEqual(await seen, { text: "go away\r\n", end: "reset" });
});

test("E1: reset ends a client that leaves our bytes unsent", async (t) => {
  const { accepted, client } = await connectPair(t);
  client.pause();
  accepted.write(Buffer.alloc(32 * 1024 * 1024));
  await new Refusals({ ...limits, closeMs: 20 }).refuse(accepted, "reset");
  // Only RST makes a first write fail; after FIN it would go out. (Reading tells Node nothing here: it reports RST after bytes as an end.)
  const failed = once(client, "error") as Promise<[NodeJS.ErrnoException]>;
  client.write("x");
  assert.match((await failed)[0].code ?? "", /^(ECONNRESET|EPIPE)$/);
});

test("E3: hold is silent for holdMs, then a reset", async (t) => {
  const { accepted, client } = await connectPair(t);
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const refusals = new Refusals(limits);
  const seen = readToEnd(client);
  const gone = refusals.refuse(accepted, "hold");
  await written(client, "anybody there?");
  mock.timers.tick(limits.holdMs - 1);
  assert.equal(refusals.held, 1);
  assert.equal(client.readableEnded, false);
  mock.timers.tick(1);
  assert.deepEqual(await seen, { text: "", end: "reset" });
  await gone;
  assert.equal(refusals.held, 0);
});

test("E3: a held client that goes frees its place", async (t) => {
  const { accepted, client } = await connectPair(t);
  const refusals = new Refusals(limits);
  const gone = refusals.refuse(accepted, "hold");
  client.on("error", () => {});
  client.end();
  await gone;
  assert.equal(refusals.held, 0);
});

test("E3: a held client cannot make us read without bound", async (t) => {
  const { accepted, client } = await connectPair(t);
  const refusals = new Refusals(limits);
  const gone = refusals.refuse(accepted, "hold");
  client.on("error", () => {});
  client.write(Buffer.alloc(64 * 1024 * 1024));
  await once(accepted, "pause");
  assert.ok(accepted.bytesRead < 1024 * 1024, `${accepted.bytesRead} bytes read`);
  refusals.close();
  await gone;
});

test("E3: one client more than maxHeld is reset at once", async (t) => {
  const refusals = new Refusals(limits);
  const pairs = [await connectPair(t), await connectPair(t), await connectPair(t)];
  const [, , third] = pairs;
  const gone = pairs.map(({ accepted }) => refusals.refuse(accepted, "hold"));
  assert.ok(third);
  assert.equal((await readToEnd(third.client)).end, "reset");
  assert.equal(refusals.held, 2);
  refusals.close();
  await Promise.all(gone);
  assert.equal(refusals.held, 0);
});

const waits: [ageMs: number, everyMs: number, atLeastMs: number, because: string][] = [
  [0.5, 80, 79, "a client that was judged at once waits for the whole time"],
  [50.25, 80, 29, "one that was judged later waits for the rest of it"],
  [90, 80, 69, "one that was judged too late waits for the next multiple"],
];
for (const [ageMs, everyMs, atLeastMs, because] of waits)
  test(`E6: ${because}`, async () => {
    const startedMs = performance.now();
    await new Refusals(limits).wait(ageMs, everyMs, new AbortController().signal);
    assert.ok(performance.now() - startedMs >= atLeastMs);
  });

test("E6: waiting clients have the places of held ones; one more does not wait, and the signal ends the wait", async () => {
  const refusals = new Refusals(limits);
  const cut = new AbortController();
  const hour = 3_600_000;
  const waiting = [refusals.wait(0, hour, cut.signal), refusals.wait(0, hour, cut.signal)];
  await refusals.wait(0, hour, cut.signal);
  assert.equal(refusals.held, 2);
  cut.abort();
  await Promise.all(waiting);
  assert.equal(refusals.held, 0);
});

test("a reset in the middle of our own end closes the descriptor", async (t) => {
  const { accepted, client } = await connectPair(t);
  const refusals = new Refusals(limits);
  const errors: Error[] = [];
  accepted.on("error", (error) => errors.push(error));
  const gone = refusals.refuse(accepted, "close");
  refusals.close();
  await gone;
  assert.deepEqual(errors, []);
  assert.match((await readToEnd(client)).end, /end|reset/, "the kernel has told the client");
});

const heldCount = Number(process.env["HELD"] ?? 300);

/** HELD=5000 npm run test:one test/act/refuse.test.ts */
test(`E3: of ${heldCount + 50} held clients, the cap is kept, and each place comes back`, async (t) => {
  const refusals = new Refusals({ ...limits, maxHeld: heldCount });
  const gone: Promise<void>[] = [];
  for (let i = 0; i < heldCount + 50; i++)
    gone.push(refusals.refuse((await connectPair(t)).accepted, "hold"));
  assert.equal(refusals.held, heldCount);
  await Promise.all(gone.slice(heldCount));
  refusals.close();
  await Promise.all(gone);
  assert.equal(refusals.held, 0);
});

test("a client that is gone already is no error", async (t) => {
  const { accepted } = await connectPair(t);
  accepted.destroy();
  await once(accepted, "close");
  for (const kind of ["reset", "close", "hold"] as const) await new Refusals(limits).refuse(accepted, kind);
});

test("D10: a client that has reset before we look is no error", async (t) => {
  const { accepted, client } = await connectPair(t);
  client.resetAndDestroy();
  await once(client, "close");
  await new Refusals(limits).refuse(accepted, "close");
});

async function written(socket: Socket, text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
