/** What the daemon makes of peers that announce their clients, and of services that are programs. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { fromTable, startDns } from "../support/dns-server.ts";
import { bindAndNeverRead, temporaryFolder } from "../support/unix-receiver.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";

const service = (more: string): string =>
  `names: {reverse: needed}\nservices: {sshd: {listen: ["127.0.0.1:0"], ${more}}}\n`;

test("B17: rules and records are about the announced client; the record names the proxy too", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: "${backend.address}", proxyProtocol: {acceptFrom: [127.0.0.1]}`),
    allow: "sshd: 192.0.2.\n",
    deny: "ALL: ALL\n",
  });
  const port = daemon.port("sshd");
  const say = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 22\r\nhello";
  assert.deepEqual(await talk(port, { say }), { text: "hello", end: "end" });
  const accept = await daemon.find(({ event }) => event === "accept");
  assert.deepEqual(accept.client, { address: "192.0.2.7", port: 4711 });
  assert.equal((accept["proxy"] as { address: string }).address, "127.0.0.1");
  await talk(port, { say: "PROXY TCP4 203.0.113.5 198.51.100.1 4711 22\r\nhello", isHalfClosed: false });
  assert.equal((await daemon.find(({ event }) => event === "refuse")).client?.address, "203.0.113.5");
});

test("B13: a PROXY header from a peer that is not listed is refused, never believed", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: "${backend.address}", proxyProtocol: {acceptFrom: [127.0.0.9]}`),
    allow: "",
    deny: "",
  });
  const port = daemon.port("sshd");
  const header = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 22\r\n";
  assert.equal((await talk(port, { say: header, isHalfClosed: false })).end, "ECONNRESET");
  const refuse = await daemon.find(({ event }) => event === "refuse");
  assert.deepEqual([refuse.client?.address, refuse.reason], ["127.0.0.1", "error"]);
  assert.equal((await talk(port, { say: "plain" })).text, "plain");
  assert.equal(backend.connections, 1);
});

test("B14: a listed peer without a header is reset after the time limit", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: "${backend.address}", proxyProtocol: {acceptFrom: [127.0.0.1], timeout: 200ms}`),
    allow: "",
    deny: "",
  });
  assert.equal((await talk(daemon.port("sshd"), { isHalfClosed: false })).end, "ECONNRESET");
  assert.match(
    (await daemon.find(({ event }) => event === "refuse")).detail ?? "",
    /PROXY header within the time limit/,
  );
  assert.equal(backend.connections, 0);
});

test("C7: a service with exec hands the socket to the program, which sees the true client", async (t) => {
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`exec: [/bin/sh, -c, 'read line; echo "$line from $REMOTE_ADDR"; exit 3']`),
    allow: "sshd: 127.0.0.66\n",
    deny: "ALL: ALL\n",
  });
  const seen = await talk(daemon.port("sshd"), { say: "hello\n", from: "127.0.0.66" });
  assert.deepEqual(seen, { text: "hello from 127.0.0.66\n", end: "end" });
  const end = await daemon.find(({ event }) => event === "end");
  assert.deepEqual([end.cause, end.upBytes], ["handed_over", null]);
  assert.match(end.detail ?? "", /exit status 3/);
  assert.equal((await talk(daemon.port("sshd"), { isHalfClosed: false })).end, "ECONNRESET");
});

test("E2: refuse: close ends a refused client by a clean end, whatever it has sent", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: "${backend.address}", refuse: close`),
    deny: "ALL: ALL\n",
  });
  for (const say of ["", "GET / HTTP/1.0\r\n\r\n"]) {
    assert.deepEqual(await talk(daemon.port("sshd"), { say, isHalfClosed: false }), { text: "", end: "end" });
  }
});

test("E3: held clients keep no allowed client out", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: "${backend.address}", refuse: hold, maxConnections: 2`),
    allow: "sshd: 127.0.0.1\n",
    deny: "ALL: ALL\n",
  });
  const port = daemon.port("sshd");
  for (let client = 0; client < 10; client += 1) {
    const held = connect({ port, host: "127.0.0.1", localAddress: "127.0.0.66" });
    held.on("error", () => undefined);
    t.after(() => held.destroy());
  }
  await daemon.find(() => daemon.records.filter(({ event }) => event === "refuse").length === 10);
  assert.equal((await talk(port, { say: "in" })).text, "in");
});

for (const version of ["v1", "v2"] as const) {
  test(`C3: the backend hears a PROXY header ${version} first, then what the client says`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: service(`backend: "${backend.address}", proxyProtocol: {send: ${version}}`),
      deny: "",
      allow: "",
    });
    const { text } = await talk(daemon.port("sshd"), { say: "hello" });
    assert.match(
      text,
      version === "v1"
        ? /^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\nhello$/
        : /^\r\n\r\n\0\r\nQUIT\n.*hello$/s,
    );
    const end = await daemon.find(({ event }) => event === "end");
    assert.equal(end.upBytes, 5, "the header is not the client's");
  });
}

test("names.reverse: always puts the name into the records though no rule has waited for it: of a decision where it is known", async (t) => {
  const dns = await startDns(
    fromTable({
      "7.2.0.192.in-addr.arpa PTR": [{ type: "PTR", data: "host.example" }],
      "host.example A": [{ type: "A", data: "192.0.2.7" }],
    }),
  );
  t.after(() => dns.close());
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: `names: {reverse: always, servers: ["${dns.address}"]}\nservices: {sshd: {listen: ["127.0.0.1:0"], backend: "${backend.address}", proxyProtocol: {acceptFrom: [127.0.0.1]}}}\n`,
    allow: "sshd: 192.0.2.7\n",
    deny: "ALL: ALL\n",
  });
  const visit = (address: string) =>
    talk(daemon.port("sshd"), { say: `PROXY TCP4 ${address} 198.51.100.1 4711 22\r\nhello` });
  const named = () =>
    daemon.records
      .filter(({ event }) => ["accept", "end", "refuse"].includes(event))
      .map(({ event, client }) => [event, client?.name]);
  const first = await open(t, daemon.port("sshd"));
  first.write("PROXY TCP4 192.0.2.7 198.51.100.1 4711 22\r\n");
  while (!dns.asked.some(({ type }) => type === "A")) assert.equal(await ask(first, "hello"), "hello");
  await new Promise((resolve) => setTimeout(resolve, 300)); // the answer is on its way
  first.end();
  await daemon.find(({ event }) => event === "end");
  await visit("192.0.2.7");
  await visit("127.0.0.2");
  await visit("127.0.0.1");
  await daemon.find(({ event, client }) => event === "refuse" && client?.address === "127.0.0.1");
  assert.deepEqual(named(), [
    ["accept", undefined],
    ["end", "host.example"],
    ["accept", "host.example"],
    ["end", "host.example"],
    ["refuse", undefined],
    ["refuse", "localhost"], // of the hosts file
  ]);
});

test("F9: names.forward lets a client in by a name whose own address it has", async (t) => {
  const dns = await startDns(({ name, type }) =>
    name === "home.dyn.test" && type === "A" ? { records: [{ type: "A", data: "192.0.2.7" }] } : { rcode: 3 },
  );
  t.after(() => dns.close());
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: "${backend.address}", proxyProtocol: {acceptFrom: [127.0.0.1]}`).replace(
      "names: {reverse: needed}",
      `names: {reverse: needed, forward: true, servers: ["${dns.address}"]}`,
    ),
    allow: "sshd: home.dyn.test\n",
    deny: "ALL: ALL\n",
  });
  const say = (address: string): string => `PROXY TCP4 ${address} 198.51.100.1 4711 22\r\nhello`;
  let text = "";
  // The name is looked up in the background: the first client may come before the answer.
  for (let round = 0; round < 50 && text === ""; round += 1) {
    ({ text } = await talk(daemon.port("sshd"), { say: say("192.0.2.7") }));
  }
  assert.equal(text, "hello");
  assert.equal(
    (await talk(daemon.port("sshd"), { say: say("192.0.2.8"), isHalfClosed: false })).end,
    "ECONNRESET",
  );
});

test("H1: the second backend serves while the first refuses", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: ["127.0.0.1:1", "${backend.address}"]`),
    allow: "",
    deny: "",
  });
  assert.equal((await talk(daemon.port("sshd"), { say: "hello" })).text, "hello");
});

/** The port of a backend that hangs: it is stopped, and its queue of one is full, so that a further dial gets no answer. */
async function startHungBackend(t: TestContext): Promise<number> {
  const program =
    "require('net').createServer().listen({port: 0, host: '127.0.0.1', backlog: 1}, function () { console.log(this.address().port) })";
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const [chunk] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(chunk.toString());
  child.kill("SIGSTOP");
  for (let client = 0; client < 4; client += 1) {
    const filler = connect(port, "127.0.0.1");
    filler.on("error", () => undefined);
    t.after(() => filler.destroy());
  }
  await new Promise((resolve) => setTimeout(resolve, 100)); // nothing tells when the queue is full
  return port;
}

test("H2: a backend that does not answer ends the dial in time", async (t) => {
  const port = await startHungBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: "127.0.0.1:${port}", connectTimeout: 300ms`),
    allow: "",
    deny: "",
  });
  assert.equal((await talk(daemon.port("sshd"), { isHalfClosed: false })).end, "ECONNRESET");
  assert.equal((await daemon.find(({ event }) => event === "end")).cause, "connect_timeout");
});

test("D9: a client that is reset during the dial ends it, with the cause client_gone", async (t) => {
  const port = await startHungBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: "127.0.0.1:${port}", connectTimeout: 30s`),
    allow: "",
    deny: "",
  });
  const client = connect(daemon.port("sshd"), "127.0.0.1");
  client.on("error", () => undefined);
  await daemon.find(({ event }) => event === "accept");
  client.resetAndDestroy();
  assert.equal((await daemon.find(({ event }) => event === "end")).cause, "client_gone");
});

test("B7: a LOCAL header of a load balancer is answered and not recorded as a client", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: "${backend.address}", proxyProtocol: {acceptFrom: [127.0.0.1]}`),
    allow: "",
    deny: "",
  });
  const local = Buffer.from("\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", "latin1").toString("latin1");
  await talk(daemon.port("sshd"), { say: local });
  await talk(daemon.port("sshd"), { say: "PROXY TCP4 192.0.2.7 198.51.100.1 4711 22\r\nhello" });
  await daemon.find(({ event }) => event === "end");
  assert.equal((await talk(daemon.port("sshd"), { say: `${local}ping` })).text, "ping");
  const spoken = await daemon.find(({ event, upBytes }) => event === "end" && upBytes === 4);
  assert.equal(spoken.client?.address, "127.0.0.1", "a check that speaks is told of, by the proxy's address");
  assert.deepEqual(
    daemon.records.filter(({ event }) => event === "accept" || event === "end").map(({ event }) => event),
    ["accept", "end", "end"],
  );
});

test("a flood of refusals is summed up where a setting asks for it", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: "flood: {perSource: 2, period: 300ms}\n",
    deny: "ALL: ALL\n",
  });
  for (let client = 0; client < 10; client += 1) await talk(daemon.port("sshd"), { isHalfClosed: false });
  const summed = await daemon.find(({ event }) => event === "suppressed");
  assert.equal(summed.client?.address, "127.0.0.1");
  const written = (): number => daemon.records.filter(({ event }) => event === "refuse").length;
  const counted = (): number =>
    daemon.records.reduce(
      (sum, { event, refusals }) => sum + (event === "suppressed" ? Number(refusals) : 0),
      0,
    );
  await daemon.find(() => written() + counted() === 10);
  assert.ok(written() < 10);
});

test("a client is not let in where an audit log cannot take its record", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: `${service(`backend: "${backend.address}"`)}log: [{to: stdout, format: json}, {to: syslog, socket: /nonexistent, audit: true}]\n`,
    allow: "",
    deny: "",
  });
  assert.equal((await talk(daemon.port("sshd"), { isHalfClosed: false })).end, "ECONNRESET");
  assert.equal(backend.connections, 0);
});

test("B10: the extensions of a header are in the record, printable", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: service(`backend: "${backend.address}", proxyProtocol: {acceptFrom: [127.0.0.1]}`),
    allow: "",
    deny: "",
  });
  const addresses = "\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x00\x16";
  const tlvs = "\x02\x00\x04host\x05\x00\x02\x01\xff";
  const length = String.fromCharCode(0, addresses.length + tlvs.length);
  const header = `\r\n\r\n\0\r\nQUIT\n\x21\x11${length}${addresses}${tlvs}`;
  const client = connect(daemon.port("sshd"), "127.0.0.1");
  client.end(Buffer.from(`${header}hello`, "latin1")).resume();
  await once(client, "close");
  const accept = await daemon.find(({ event }) => event === "accept");
  assert.deepEqual((accept["proxy"] as { tlvs: unknown }).tlvs, [
    { name: "authority", value: "host" },
    { name: "unique_id", value: "0x01ff" },
  ]);
});

test("K3: an audit log whose receiver never reads lets nobody in, and holds nobody beyond the limit", async (t) => {
  const socket = join(temporaryFolder(t), "log");
  const close = await bindAndNeverRead(socket);
  t.after(close);
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: `${service(`backend: "${backend.address}", decisionTimeout: 300ms`)}log: [{to: stdout, format: json}, {to: syslog, socket: ${socket}, audit: true}]\n`,
    allow: "",
    deny: "",
  });
  // The kernel queues some datagrams for the receiver; behind them the log is full.
  let ended = "";
  for (let client = 0; client < 1500 && ended !== "ECONNRESET"; client += 1) {
    ({ end: ended } = await talk(daemon.port("sshd"), { say: "x" }));
  }
  assert.equal(ended, "ECONNRESET");
  const end = await daemon.find(({ event, detail }) => event === "end" && /audit/.test(detail ?? ""));
  assert.equal(end.cause, "internal");
});
