/**
 * A rule with a name whose address changes, in front of a real daemon.
 *
 * Runs in a network namespace of its own whose "lo" has 10.5.0.1 to 10.5.0.3: loopback answers do not count for such rules.
 */

import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { RunningDaemon } from "./daemon.ts";
import type { Reply } from "./dns-server.ts";
import { startDns } from "./dns-server.ts";
import { startBackend } from "./peers.ts";

const home = "home.dyndns.example";

/** "in" where the backend answered, else how the connection ended. */
async function visit(port: number, from: string): Promise<string> {
  const socket = connect({ port, host: "10.5.0.1", localAddress: from });
  return await new Promise((resolve) => {
    socket.on("data", () => resolve("in"));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "error"));
    socket.on("close", () => resolve("closed"));
  }).then((seen) => (socket.destroy(), String(seen)));
}

test("F9: a rule with a DynDNS name follows its address, and stays with the last good one while DNS is away", async (t) => {
  let answer: Reply | undefined = { records: [{ type: "A", data: "10.5.0.2", ttl: 1 }] };
  const dns = await startDns(({ name, type }) => {
    if (name !== home) return { rcode: 3 };
    return type === "A" || answer === undefined ? answer : {};
  });
  t.after(() => dns.close());
  const backend = await startBackend(t, (socket) => socket.resume().end("hello"));
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    listen: { sshd: "10.5.0.1:0" },
    yaml: `names: {reverse: needed, forward: true, servers: ["${dns.address}"], timeout: 500ms}\n`,
    allow: `sshd: ${home}\n`,
    deny: "ALL: ALL\n",
  });
  const port = daemon.port("sshd");
  const until = async (from: string, expected: string): Promise<void> => {
    const end = performance.now() + 15_000;
    while ((await visit(port, from)) !== expected) {
      assert.ok(performance.now() < end, `${from} is not ${expected} after 15 s`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  await until("10.5.0.2", "in");
  assert.equal(await visit(port, "10.5.0.3"), "ECONNRESET");
  const questions = dns.asked.filter(({ name }) => name === home).length;
  for (let n = 0; n < 50; n++) await visit(port, "10.5.0.2");
  assert.ok(
    dns.asked.filter(({ name }) => name === home).length <= questions + 4,
    "no question for a connection",
  );
  answer = { records: [{ type: "A", data: "10.5.0.3", ttl: 1 }] };
  const start = performance.now();
  await until("10.5.0.3", "in");
  t.diagnostic(`the new address counted after ${Math.round(performance.now() - start)} ms`);
  assert.equal(await visit(port, "10.5.0.2"), "ECONNRESET");
  answer = undefined;
  const asked = dns.asked.length;
  while (dns.asked.length < asked + 2) await new Promise((resolve) => setTimeout(resolve, 100));
  await new Promise((resolve) => setTimeout(resolve, 1500)); // the question that nobody answers is over
  assert.equal(await visit(port, "10.5.0.3"), "in");
});
