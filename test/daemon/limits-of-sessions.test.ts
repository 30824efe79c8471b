/** What ends a session, so that its place is free again; by both relays where bytes move. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { startDns } from "../support/dns-server.ts";
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

for (const relay of relays) {
  test(`D15: a session that is too old is cut, whatever it says, by the ${relay} relay`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await startSshd(t, service(relay, `backend: "${backend.address}", maxAge: 300ms`));
    const client = connect(daemon.port("sshd"), "127.0.0.1").on("error", () => undefined);
    const talking = setInterval(() => client.write("still there\n"), 50);
    t.after(() => clearInterval(talking));
    const { cause, upBytes } = await daemon.find(({ event }) => event === "end");
    assert.equal(cause, "max_age");
    assert.ok(Number(upBytes) > 0);
    if (!client.destroyed) await once(client, "close");
  });
}

test("D15: a program that has the socket for too long is ended", async (t) => {
  const daemon = await startSshd(t, service("auto", 'exec: ["/bin/cat"], maxAge: 300ms'));
  const client = connect(daemon.port("sshd"), "127.0.0.1").on("error", () => undefined);
  t.after(() => client.destroy());
  client.resume();
  assert.equal((await daemon.find(({ event }) => event === "end")).cause, "max_age");
  if (!client.destroyed) await once(client, "close");
});

test("D9, H9: a client that is reset while its verdict is looked for is not dialled for", async (t) => {
  const backend = await startBackend(t);
  let hold = (): void => undefined;
  const until = new Promise<void>((resolve) => (hold = resolve));
  let hear = (): void => undefined;
  const asked = new Promise<void>((resolve) => (hear = resolve));
  const dns = await startDns(() => {
    hear();
    return { rcode: 3, until };
  });
  t.after(() => dns.close());
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: `names: {reverse: needed, hostsFile: /dev/null, timeout: 10s, servers: ["${dns.address}"]}\nservices: {sshd: {listen: ["127.0.0.1:0"], backend: "${backend.address}"}}\n`,
    allow: "sshd: .example.test\nsshd: ALL\n",
    deny: "ALL: ALL\n",
  });
  const client = connect(daemon.port("sshd"), "127.0.0.1");
  await once(client, "connect");
  await asked;
  client.resetAndDestroy();
  hold();
  const { cause } = await daemon.find(({ event }) => event === "end");
  assert.equal(cause, "client_gone");
  assert.equal(backend.connections, 0);
  const patient = connect({ port: daemon.port("sshd"), host: "127.0.0.1", allowHalfOpen: true });
  patient.end("question");
  let answer = "";
  patient.on("data", (chunk) => (answer += String(chunk)));
  await once(patient, "end");
  assert.equal(answer, "question", "who has only ended its direction is served");
});
