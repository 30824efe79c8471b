import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { type Means, roomsFor } from "../../src/listen/limits.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { ask, open, startBackend } from "../support/peers.ts";

const MiB = 2 ** 20;

const rows: [means: Means, clients: number, because: string][] = [
  [
    { maxDescriptors: 1024, maxHeapBytes: 4096 * MiB },
    403,
    "two descriptors each, beside a reserve and what is put aside",
  ],
  [
    { maxDescriptors: 2 ** 20, maxHeapBytes: 1024 * MiB },
    31_232,
    "half of the heap that the program leaves, at 16 KiB each",
  ],
  [{ maxDescriptors: 2 ** 20, maxHeapBytes: 112 * MiB }, 2048, "a small heap has few"],
  [{ maxDescriptors: 70, maxHeapBytes: MiB }, 1, "never none"],
];
for (const [means, clients, because] of rows)
  test(`J12: ${means.maxDescriptors} descriptors and ${means.maxHeapBytes / MiB} MiB of heap have room for ${clients}: ${because}`, () =>
    assert.equal(roomsFor(means).clients, clients));

test("J12: a daemon with a small heap refuses the clients that it has no room for, and goes on", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: "names: {reverse: never}\n",
    // Node 24 adds 192 MiB for young objects to its limit where nothing is said of them, Node 20 adds 48.
    environment: { NODE_OPTIONS: "--max-old-space-size=64 --max-semi-space-size=16" },
  });
  const port = daemon.port("sshd");
  const session = await open(t, port);
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  const isFull: Parameters<typeof daemon.find>[0] = ({ event, reason }) =>
    event === "refuse" && reason === "limit";
  while (!daemon.records.some(isFull) && sockets.length < 4000) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => socket.destroy()); // those that are refused
    sockets.push(socket);
    // One that is refused may hear of its reset before its connection.
    await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
  }
  await daemon.find(isFull); // its limit begins only now: so many clients may take longer on a busy machine
  assert.ok(sockets.length > 500, `${sockets.length} clients`);
  assert.equal(await ask(session, "alive"), "alive");
  assert.equal(daemon.records.filter(({ code }) => code === "worker-died").length, 0);
});
