/** A DNS server that never answers, behind a daemon whose rules do or do not ask for names. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
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

interface Silent {
  readonly port: number;
  readonly daemon: RunningDaemon;
}

let serial = 0;
/** Loopback addresses, a new one each time. */
function newPeer(): string {
  serial += 1;
  return `127.${1 + (serial >> 16)}.${(serial >> 8) & 255}.${serial & 255}`;
}

async function startSilent(t: TestContext, reverse: string, allow: string): Promise<Silent> {
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

/** Milliseconds of processor time that a daemon and its workers have used; what else runs on the machine does not count in it. */
function processorMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13)
    .map(Number);
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
  const own = (user + system) * 10; // USER_HZ is 100 on Linux
  return children === ""
    ? own
    : children.split(" ").reduce((sum, child) => sum + processorMs(Number(child)), own);
}

/** Visits from new peers, sixteen at a time; processor time and wall-clock time of one. */
async function cost(
  { port, daemon }: Silent,
  visits: number,
): Promise<{ processorMs: number; wallMs: number }> {
  const { pid = 0 } = daemon.process;
  const [start, before] = [performance.now(), processorMs(pid)];
  let left = visits;
  const visitor = async (): Promise<void> => {
    while (left-- > 0) assert.equal((await visit(port, newPeer())).end, "end");
  };
  await Promise.all(Array.from({ length: 16 }, visitor));
  return {
    processorMs: (processorMs(pid) - before) / visits,
    wallMs: (performance.now() - start) / visits,
  };
}

for (const reverse of ["needed", "always"]) {
  test(`F1, F6: with DNS silent and names.reverse ${reverse}, connections without a name rule cost no more than without DNS`, async (t) => {
    const off = await startSilent(t, "never", "sshd: ALL\n");
    const silent = await startSilent(t, reverse, "sshd: ALL\n");
    for (const each of [off, silent]) await cost(each, 600); // warm up
    const sum = { off: 0, silent: 0 };
    for (let round = 0; round < 5; round++) {
      const without = await cost(off, 500);
      const withSilent = await cost(silent, 500);
      sum.off += without.processorMs;
      sum.silent += withSilent.processorMs;
      t.diagnostic(
        `rate ${(1000 / without.wallMs).toFixed(0)}/s without, ${(1000 / withSilent.wallMs).toFixed(0)}/s with silent DNS`,
      );
    }
    const ratio = sum.off / sum.silent;
    t.diagnostic(
      `processor time of a connection: ${(sum.off / 5).toFixed(3)} ms without, ${(sum.silent / 5).toFixed(3)} ms with silent DNS; ratio ${ratio.toFixed(3)}`,
    );
    // The figure is that of "npm run bench:names"; this only tells when somebody waits who should not.
    assert.ok(ratio >= 0.5, `ratio ${ratio.toFixed(3)}`);
  });
}

test("F1: with DNS silent a connection that needs the name is decided at names.timeout, and not at the resolver's", async (t) => {
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
  // "npm run bench:names" has the figure (1,050 ms at most); the resolver alone would wait for 5 s and more.
  assert.ok(best >= 990 && best < 4000, `${best.toFixed(0)} ms`);
});
