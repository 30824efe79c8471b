/** Clients and backends that do what they should not, all at once: every connection has its records, and nothing stays behind. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { startBackend, talk } from "../support/peers.ts";

const clients = Number(process.env["CHAOS_CLIENTS"] ?? 600);
const atOnce = 60;

const block = randomBytes(2 ** 20);

type Random = (below: number) => number;

/** Numbers below a limit, the same for the same seed. */
function random(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const backends: ((socket: Socket, next: Random) => void)[] = [
  (socket) => void socket.pipe(socket),
  (socket) => void socket.pipe(socket),
  (socket) => void socket.pause(), // accepts and never reads
  (socket) => void socket.end("421 busy\r\n"),
  (socket) => void socket.resetAndDestroy(),
  (socket) => void socket.resume().end(Buffer.concat([block, block, block, block])),
  // Answers while it is still being sent to, and closes with bytes unread.
  (socket) => void socket.once("readable", () => socket.write("413\r\n", () => socket.destroy())),
  (socket, next) => void setTimeout(() => socket.resetAndDestroy(), next(50)),
  (socket) => void socket.resume().on("end", () => socket.end("bye")),
];

const later = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms));

/** What a client does once it is connected. Each leaves in the end, or waits to be ended. */
const behaviours: ((socket: Socket, next: Random) => Promise<unknown>)[] = [
  async (socket) => socket.resetAndDestroy(), // before anything
  async (socket, next) => (await later(next(40)), socket.resetAndDestroy()),
  async (socket, next) => (await later(next(40)), socket.destroy()),
  async (socket) => socket.resume().end(), // half-closed from the first
  async (socket) => {
    for (let byte = 0; byte < 100 && socket.writable; byte += 1) {
      socket.write("x"); // a segment each
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.resume().end();
  },
  async (socket, next) => {
    socket.resume().write(block);
    await later(next(30));
    socket.resetAndDestroy(); // in the middle of an upload
  },
  async (socket, next) => {
    socket.pause().write("give"); // its window closes
    await later(100 + next(200));
    socket.destroy();
  },
  async (socket, next) => {
    socket.write(block);
    socket.write(block); // more than a backend that never reads takes
    await later(100 + next(200));
    socket.destroy();
  },
  async (socket) => void socket.resume(), // silent: the idle time ends it
  async (socket, next) => {
    const size = next(200_000);
    socket.resume().end(block.subarray(0, size));
  },
];

for (const relay of ["fast", "reference"]) {
  test(
    `M3: ${clients} strange clients on strange backends, by the ${relay} relay`,
    { timeout: 120_000 },
    async (t) => {
      const next = random(Number(process.env["FUZZ_SEED"] ?? 1));
      const backend = await startBackend(t, (socket) => backends[next(backends.length)]?.(socket, next));
      const daemon = await RunningDaemon.start(t, {
        services: {},
        yaml: `names: {reverse: never}\nrelay: ${relay}\nservices: {sshd: {listen: ["127.0.0.1:0"], backend: "${backend.address}", idleTimeout: 1s}}\n`,
        allow: "",
        deny: "sshd: 127.0.0.66\n",
      });
      const port = daemon.port("sshd");
      await talk(port, { say: "warm", from: "127.0.0.66", isHalfClosed: false });
      const before = daemon.servingDescriptors();
      const rss = residentBytes(daemon);
      let left = clients;
      const oneAfterTheOther = async (): Promise<void> => {
        while (left > 0) {
          left -= 1;
          await stranger(port, next);
        }
      };
      await Promise.all(Array.from({ length: atOnce }, oneAfterTheOther));
      const ids = (...events: string[]): (string | undefined)[] =>
        daemon.records.filter(({ event }) => events.includes(event)).map(({ id }) => id);
      await daemon.find(() => ids("end", "refuse").length === clients + 1);
      assert.equal(ids("accept", "refuse").length, clients + 1);
      assert.equal(new Set(ids("accept", "refuse")).size, clients + 1);
      assert.deepEqual(new Set(ids("end")), new Set(ids("accept")));
      assert.deepEqual(
        daemon.records.filter(({ cause, code }) => cause === "internal" || code === "uncaught"),
        [],
      );
      assert.equal(daemon.servingDescriptors(), before);
      const grown = residentBytes(daemon) - rss;
      t.diagnostic(`${Math.round(grown / 2 ** 20)} MiB more than before`);
      assert.ok(grown < 128 * 2 ** 20, `${grown} bytes`);
      const causes = new Map<string, number>();
      for (const { cause } of daemon.records)
        if (cause !== undefined) causes.set(cause, (causes.get(cause) ?? 0) + 1);
      t.diagnostic(JSON.stringify(Object.fromEntries(causes)));
    },
  );
}

/** One client from its connect to its close; one of ten is refused. */
async function stranger(port: number, next: Random): Promise<void> {
  const localAddress = next(10) === 0 ? "127.0.0.66" : "127.0.0.1";
  const socket = connect({ port, host: "127.0.0.1", localAddress, allowHalfOpen: next(2) === 0 });
  socket.on("error", () => undefined);
  socket.on("end", () => socket.end());
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const isOpen = await Promise.race([
    new Promise<boolean>((resolve) => socket.once("connect", () => resolve(true))),
    closed.then(() => false),
  ]);
  if (isOpen) await behaviours[next(behaviours.length)]?.(socket, next);
  await closed;
}

function residentBytes(daemon: RunningDaemon): number {
  const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.workers()[0]}/status`, "utf8")) ?? [];
  return Number(kib) * 1024;
}
