/** A DNS server that never answers, behind a daemon whose rules do or do not ask for names. */

import assert from "node:assert/strict";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { startDns } from "../support/dns-server.ts";
import { startBackend } from "../support/peers.ts";

/** Connects from an address that nobody has seen yet, and waits for the end. */
async function visit(port: number, from: string): Promise<{ tookMs: number; end: string }> {
  const start = performance.now();
  const socket = connect({ port, host: "127.0.0.1", localAddress: from });
  let end = "end";
  socket.on("error", (error: NodeJS.ErrnoException) => (end = error.code ?? "error"));
  socket.resume().end();
  await new Promise((resolve) => socket.once("close", resolve)); // once() would reject with the reset
  return { tookMs: performance.now() - start, end };
}

let serial = 0;
/** Loopback addresses, a new one each time. */
function newPeer(): string {
  serial += 1;
  return `127.${1 + (serial >> 16)}.${(serial >> 8) & 255}.${serial & 255}`;
}

async function startSilent(
  t: TestContext,
  reverse: string,
  allow: string,
): Promise<{ port: number; daemon: RunningDaemon }> {
  const dns = await startDns(() => undefined);
  t.after(() => dns.close());
  const backend = await startBackend(t, (socket) => socket.resume().end("hello"));
  const yaml = `names: {reverse: ${reverse}, servers: ["${dns.address}"], timeout: 1s}\n`;
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml,
    allow,
    deny: "ALL: ALL\n",
  });
  return { port: daemon.port("sshd"), daemon };
}

/** Connections a second, sixteen at a time, each from a new peer. */
async function rate(port: number, visits: number): Promise<number> {
  const start = performance.now();
  let left = visits;
  const visitor = async (): Promise<void> => {
    while (left-- > 0) assert.equal((await visit(port, newPeer())).end, "end");
  };
  await Promise.all(Array.from({ length: 16 }, visitor));
  return visits / ((performance.now() - start) / 1000);
}

for (const reverse of ["needed", "always"]) {
  test(`F1, F6: with DNS silent and names.reverse ${reverse}, connections without a name rule are as quick as without DNS`, async (t) => {
    const off = await startSilent(t, "never", "sshd: ALL\n");
    const silent = await startSilent(t, reverse, "sshd: ALL\n");
    for (const { port } of [off, silent]) await rate(port, 300);
    const ratios: number[] = [];
    // In turns, and the middle of five: what else runs on the machine is none of our doing.
    for (let round = 0; round < 5; round++) {
      const without = await rate(off.port, 600);
      const withSilent = await rate(silent.port, 600);
      ratios.push(withSilent / without);
      t.diagnostic(
        `DNS off ${without.toFixed(0)}/s, silent ${withSilent.toFixed(0)}/s: ${(withSilent / without).toFixed(3)}`,
      );
    }
    const middle = ratios.sort((one, other) => one - other)[2] ?? 0;
    t.diagnostic(`ratio ${middle.toFixed(3)}`);
    assert.ok(middle >= 0.9, `ratio ${middle.toFixed(3)}`);
  });
}

test("F1: with DNS silent a connection that needs the name is decided at names.timeout + 50 ms", async (t) => {
  const { port, daemon } = await startSilent(t, "needed", "sshd: .example\n");
  let best = Infinity;
  for (let round = 0; round < 5 && best >= 1050; round++) {
    const peer = newPeer();
    const { tookMs, end } = await visit(port, peer);
    assert.equal(end, "ECONNRESET");
    await daemon.find(({ event, client }) => event === "refuse" && client?.address === peer);
    best = Math.min(best, tookMs);
  }
  t.diagnostic(`decided after ${best.toFixed(0)} ms`);
  assert.ok(best >= 990 && best < 1050, `${best.toFixed(0)} ms`);
});
