/** What ends a session, so that its place is free again; by both relays where bytes move. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { startBackend, talk } from "../support/peers.ts";

const relays = ["fast", "reference"] as const;

const service = (relay: string, more: string): string =>
  `names: {reverse: never}\nrelay: ${relay}\nservices: {sshd: {listen: ["127.0.0.1:0"], ${more}}}\n`;

async function startSshd(t: TestContext, yaml: string): Promise<RunningDaemon> {
  return await RunningDaemon.start(t, { services: {}, yaml, allow: "", deny: "" });
}

for (const relay of relays) {
  test(`D1: a silent client does not keep the place of a backend that has ended, by the ${relay} relay`, async (t) => {
    const backend = await startBackend(t, (socket) => void socket.end("too late\n"));
    const daemon = await startSshd(
      t,
      service(relay, `backend: "${backend.address}", maxConnections: 1, halfClosedTimeout: 100ms`),
    );
    const silent = connect({ port: daemon.port("sshd"), host: "127.0.0.1", allowHalfOpen: true });
    t.after(() => silent.destroy());
    await once(silent.resume(), "end");
    const { cause, detail, downBytes } = await daemon.find(({ event }) => event === "end");
    assert.deepEqual([cause, detail, downBytes], ["idle_timeout", "half_closed", 9]);
    assert.equal((await talk(daemon.port("sshd"))).text, "too late\n");
  });
}
