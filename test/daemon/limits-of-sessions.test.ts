/** What ends a session, so that its place is free again; by both relays where bytes move. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { command } from "../support/control.ts";
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

test("E3: how many refused clients are held, and how long, are settings that a reload changes", async (t) => {
  const backend = await startBackend(t);
  const yaml = (limits: string): string =>
    `limits: {${limits}}\n${service("auto", `backend: "${backend.address}", refuse: hold`)}`;
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: yaml("holdTime: 1h"),
    allow: "",
    deny: "ALL: ALL\n",
  });
  const reload = async (limits: string): Promise<void> => {
    writeFileSync(daemon.configFile, yaml(limits));
    const { status, errors } = await command(daemon, "reload");
    assert.equal(status, 0, errors);
  };
  const held = connect(daemon.port("sshd"), "127.0.0.1");
  t.after(() => held.destroy());
  await daemon.find(({ event }) => event === "refuse");
  await reload("held: 1, holdTime: 50ms");
  assert.equal((await talk(daemon.port("sshd"))).end, "ECONNRESET", "one is held already, for an hour");
  await reload("held: 2, holdTime: 50ms");
  const cameMs = performance.now();
  const patient = connect(daemon.port("sshd"), "127.0.0.1");
  const [failure] = (await once(patient, "error")) as [NodeJS.ErrnoException];
  assert.equal(failure.code, "ECONNRESET");
  assert.ok(performance.now() - cameMs >= 50);
  assert.equal(held.destroyed, false);
});

test("a banner has the size and the time that the configuration says", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: `banners: {size: 1KiB}\n${service("auto", `backend: "${backend.address}"`)}`,
    allow: "",
    deny: "",
  });
  writeFileSync(`${daemon.folder}/sshd`, "0123456789abcde\n".repeat(100));
  writeFileSync(daemon.denyFile, `ALL: ALL: banners ${daemon.folder}\n`);
  const { text } = await talk(daemon.port("sshd"));
  assert.equal(text, "0123456789abcde\r\n".repeat(64));
});
