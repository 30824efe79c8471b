/** UDP services in the whole daemon: from the configuration to the record. */

import assert from "node:assert/strict";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import type { Status } from "../../src/control/api.ts";
import type { OpenSession } from "../../src/record/entry.ts";
import { bindSocket } from "../../src/platform/bound-sockets.ts";
import { command, control } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { askUdp, heard, openUdp, startUdpBackend } from "../support/datagrams.ts";
import { startDns } from "../support/dns-server.ts";
import { startBackend, talk } from "../support/peers.ts";

const listen = { tftp: "udp:127.0.0.1:0" };
const yaml = (more: string) => `names: {reverse: never}\n${more}\n`;
const service = (backend: string, more = "", at = "udp:127.0.0.1:0") =>
  `services: {tftp: {listen: ["${at}"], backend: "${backend}"${more}}}`;

for (const workers of [0, 1, 3]) {
  test(`a UDP service with ${workers} workers joins who is allowed, and leaves an accept and an end with the bytes`, async (t) => {
    const backend = await startUdpBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: yaml(`process: {workers: ${workers}}\n${service(backend.address, ", idleTimeout: 300ms")}`),
      allow: "tftp: 127.0.0.1\n",
      deny: "ALL: ALL\n",
    });
    const port = daemon.port("tftp");
    const client = await openUdp(t);
    for (let count = 0; count < 5; count += 1) {
      const answer = await askUdp(client, `datagram ${count}`, port);
      assert.deepEqual(answer, { text: `re:datagram ${count}`, port, address: "127.0.0.1" });
    }
    const end = await daemon.find(({ event }) => event === "end");
    const accept = await daemon.find(({ event }) => event === "accept");
    assert.equal(accept.id, end.id);
    assert.deepEqual(accept.client, { address: "127.0.0.1", port: client.address().port });
    assert.deepEqual(accept["server"], { address: "127.0.0.1", port });
    assert.equal(accept["transport"], "udp");
    assert.equal(accept["backend"], backend.address);
    assert.deepEqual(accept.rule, { file: daemon.allowFile, line: 1 });
    assert.deepEqual([end.upBytes, end.downBytes, end.cause], [50, 65, "idle_timeout"], "K8");
    assert.equal(daemon.records.filter(({ event }) => event === "accept").length, 1);
    assert.equal(await daemon.end("SIGTERM"), 0);
  });
}

test("E5: a refused UDP client hears nothing, reaches nobody and has one record, however often it writes", async (t) => {
  const backend = await startUdpBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { tftp: backend.address },
    listen,
    deny: "tftp: 127.0.0.66\n",
  });
  const port = daemon.port("tftp");
  const refused = await openUdp(t, "127.0.0.66");
  let answers = 0;
  refused.on("message", () => (answers += 1));
  for (let count = 0; count < 20; count += 1) refused.send("let me in", port, "127.0.0.1");
  const { client, rule, reason, level } = await daemon.find(({ event }) => event === "refuse");
  assert.deepEqual(client, { address: "127.0.0.66", port: refused.address().port });
  assert.deepEqual([rule, reason, level], [{ file: daemon.denyFile, line: 1 }, "rule", "warn"]);
  const allowed = await openUdp(t);
  assert.equal((await askUdp(allowed, "after it", port)).text, "re:after it");
  assert.deepEqual(backend.texts, ["after it"]);
  assert.equal(answers, 0);
  assert.equal(daemon.records.filter(({ event }) => event === "refuse").length, 1);
});

test("G8: an edit of a table judges the next new UDP client; the session that is open goes on", async (t) => {
  const backend = await startUdpBackend(t);
  const daemon = await RunningDaemon.start(t, { services: { tftp: backend.address }, listen });
  const port = daemon.port("tftp");
  const [old, fresh] = [await openUdp(t), await openUdp(t)];
  assert.equal((await askUdp(old, "one", port)).text, "re:one");
  appendFileSync(daemon.denyFile, "tftp: ALL\n");
  fresh.send("new", port, "127.0.0.1");
  assert.equal((await daemon.find(({ event }) => event === "refuse")).client?.port, fresh.address().port);
  assert.equal((await askUdp(old, "two", port)).text, "re:two");
  assert.deepEqual(backend.texts, ["one", "two"]);
});

test("G10: with access.recheck cut, an edit ends the UDP sessions that it refuses", async (t) => {
  const backend = await startUdpBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { tftp: backend.address },
    listen,
    yaml: yaml("access: {recheck: cut}"),
  });
  const client = await openUdp(t);
  await askUdp(client, "one", daemon.port("tftp"));
  appendFileSync(daemon.denyFile, "tftp: ALL\n");
  const { cause, detail } = await daemon.find(({ event }) => event === "end");
  assert.deepEqual([cause, detail], ["kicked", "policy_revoked"]);
});

test("libwrap never asks ident about datagrams: a rule with a user matches no UDP client but by ALL and UNKNOWN", async (t) => {
  const backend = await startUdpBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { tftp: backend.address, talk: backend.address },
    listen: { ...listen, talk: "udp:127.0.0.1:0" },
    allow: "talk: UNKNOWN@127.0.0.1\ntftp: bob@127.0.0.1, KNOWN@127.0.0.1\n",
    deny: "ALL: ALL\n",
  });
  const client = await openUdp(t);
  assert.equal((await askUdp(client, "hello", daemon.port("talk"))).text, "re:hello");
  client.send("hello", daemon.port("tftp"), "127.0.0.1");
  const refuse = await daemon.find(({ event }) => event === "refuse");
  assert.deepEqual([refuse.service, refuse.reason], ["tftp", "rule"]);
  assert.ok(Number(refuse["decisionMs"]) < 1000, "nobody has waited for port 113");
});

test("twist on a UDP service refuses, banners are told of and not sent, spawn runs", async (t) => {
  const backend = await startUdpBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { one: backend.address, two: backend.address },
    listen: { one: "udp:127.0.0.1:0", two: "udp:127.0.0.1:0" },
  });
  writeFileSync(
    daemon.allowFile,
    `two: ALL: banners ${daemon.folder}: spawn echo %a %u >${daemon.folder}/spawned\n`,
  );
  writeFileSync(daemon.denyFile, "one: ALL: twist echo no\n");
  const client = await openUdp(t);
  client.send("x", daemon.port("one"), "127.0.0.1");
  const refuse = await daemon.find(({ event }) => event === "refuse");
  assert.deepEqual([refuse.service, refuse.reason], ["one", "error"]);
  assert.match(refuse.detail ?? "", /^twist on a UDP service/);
  assert.equal((await askUdp(client, "hello", daemon.port("two"))).text, "re:hello");
  const warned = await daemon.find(({ code }) => code === "act");
  const spawned = () => readFileSync(`${daemon.folder}/spawned`, { encoding: "utf8", flag: "a+" });
  for (let waitedMs = 0; spawned() === "" && waitedMs < 5000; waitedMs += 20) await pause(20);
  assert.equal(spawned(), "127.0.0.1 unknown\n");
  assert.match(String(warned["message"]), /^banners: not sent on a UDP service \(.*hosts\.allow:1\)$/);
});

test("status counts UDP sessions, sessions lists them, kick ends one, the limits hold and are told", async (t) => {
  const backend = await startUdpBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: yaml(service(backend.address, ", maxConnections: 3, maxPerSource: 2")),
  });
  const port = daemon.port("tftp");
  const clients = await Promise.all(
    ["127.0.0.1", "127.0.0.1", "127.0.0.2"].map((address) => openUdp(t, address)),
  );
  for (const client of clients) await askUdp(client, "hello", port);
  (await openUdp(t)).send("third of its address", port, "127.0.0.1");
  await daemon.find(({ event, client }) => event === "refuse" && client?.address === "127.0.0.1");
  (await openUdp(t, "127.0.0.3")).send("fourth in all", port, "127.0.0.1");
  const refuse = await daemon.find(
    ({ event, client }) => event === "refuse" && client?.address === "127.0.0.3",
  );
  assert.equal(refuse.reason, "limit");
  const status = (await control(daemon, "GET", "/v1/status")).body as unknown as Status;
  const [tftp] = status.services;
  assert.deepEqual(tftp?.listen, [`udp:127.0.0.1:${port}`]);
  assert.deepEqual([tftp?.open, tftp?.accepted, tftp?.refused.limit], [3, 3, 2]);
  const { sessions } = (await control(daemon, "GET", "/v1/sessions")).body as unknown as {
    sessions: OpenSession[];
  };
  assert.deepEqual(
    sessions.map(({ client, state, transport, traffic }) => [client.address, state, transport, traffic]),
    ["127.0.0.1", "127.0.0.1", "127.0.0.2"].map((address) => [
      address,
      "accepted",
      "udp",
      { upBytes: 5, downBytes: 8 },
    ]),
  );
  const id = sessions[0]?.id ?? "";
  assert.equal((await command(daemon, "kick", id)).status, 0);
  assert.equal((await daemon.find((record) => record.event === "end" && record.id === id)).cause, "kicked");
  const again = await openUdp(t);
  assert.equal((await askUdp(again, "there is room", port)).text, "re:there is room");
});

test("a reload keeps a UDP socket with its sessions, adds one, takes one away, and gives new sessions the new backend", async (t) => {
  const [first, second] = [await startUdpBackend(t), await startUdpBackend(t)];
  const head = "names: {reverse: never}\nservices:\n";
  const line = (name: string, port: number, backend: string) =>
    `  ${name}: {listen: ["udp:127.0.0.1:${port}"], backend: "${backend}"}\n`;
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: head + line("stays", 0, first.address) + line("goes", 0, first.address),
  });
  const [stays, goes] = [daemon.port("stays"), daemon.port("goes")];
  const [kept, left] = [await openUdp(t), await openUdp(t)];
  await askUdp(kept, "one", stays);
  await askUdp(left, "one", goes);
  writeFileSync(
    daemon.configFile,
    head + line("stays", 0, second.address) + line("comes", 0, second.address),
  );
  const { output } = await command(daemon, "reload", "--json");
  const { opened, closed } = JSON.parse(output) as { opened: string[]; closed: string[] };
  assert.deepEqual(closed, [`goes on udp:127.0.0.1:${goes}`]);
  const comes = Number(/^comes on udp:127\.0\.0\.1:(\d+)$/.exec(opened[0] ?? "")?.[1]);
  assert.equal((await askUdp(kept, "two", stays)).text, "re:two");
  assert.equal((await askUdp(left, "two", goes)).text, "re:two", "G12: its session goes on");
  assert.deepEqual(first.texts, ["one", "one", "two", "two"]);
  assert.equal((await askUdp(await openUdp(t), "new", stays)).text, "re:new");
  assert.equal((await askUdp(await openUdp(t), "new", comes)).text, "re:new");
  assert.deepEqual(second.texts, ["new", "new"]);
});

test("I10: a flood of refused datagrams from forged addresses is a hundred records and a number; TCP services do not notice", async (t) => {
  const backend = await startUdpBackend(t);
  const tcp = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: tcp.address },
    yaml: yaml(`flood: {period: 1h}\n${service(backend.address, ", idleTimeout: 1s")}`),
    deny: "tftp: ALL EXCEPT 127.0.0.1\n",
  });
  const port = daemon.port("tftp");
  // Every address of 127.0.0.0/8 is ours, so this socket needs no raw one to send from many.
  for (let count = 0; count < 300; count += 1) {
    const forged = await openUdp(t, `127.2.${count >> 8}.${count & 255}`);
    forged.send("x", port, "127.0.0.1");
    if (count % 50 === 0) assert.equal((await talk(daemon.port("sshd"), { say: "hello" })).text, "hello");
  }
  const client = await openUdp(t);
  assert.equal((await askUdp(client, "me", port)).text, "re:me");
  const status = async () => (await control(daemon, "GET", "/v1/status")).body as unknown as Status;
  const refused = async () => (await status()).services.find(({ name }) => name === "tftp")?.refused.rule;
  while ((await refused()) !== 300) await pause(20);
  daemon.process.kill("SIGTERM");
  assert.equal(await daemon.end("SIGTERM"), 0);
  assert.equal(daemon.records.filter(({ event }) => event === "refuse").length, 100);
  const summaries = daemon.records.filter(({ event }) => event === "suppressed");
  assert.deepEqual(
    summaries.map(({ service, client, refusals }) => [service, client?.address, refusals]),
    [["tftp", "others", 200]],
  );
});

test("a UDP port in use is told with the program to ask, and no listener stays open", async (t) => {
  const backend = await startUdpBackend(t);
  const taken = await openUdp(t);
  const at = `udp:127.0.0.1:${taken.address().port}`;
  const started = RunningDaemon.start(t, { services: { tftp: backend.address }, listen: { tftp: at } });
  await assert.rejects(started, (error: Error) => {
    assert.match(
      error.message,
      /cannot listen on udp:127\.0\.0\.1:\d+: the address is in use; "ss -lunp sport = :\d+"/,
    );
    return true;
  });
});

for (const address of ["127.0.0.1", "0.0.0.0"]) {
  test(`J5: a restart leaves the UDP sessions on ${address} to the old worker and the port to the next daemon`, async (t) => {
    const backend = await startUdpBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: yaml(
        `process: {onRestart: keep}\n${service(backend.address, ", idleTimeout: 1500ms", `udp:${address}:0`)}`,
      ),
    });
    const port = daemon.port("tftp");
    const at = `udp:${address}:${port}`;
    const old = await openUdp(t);
    await askUdp(old, "one", port);
    const talking = setInterval(() => old.send("still there", port, "127.0.0.1"), 300);
    t.after(() => clearInterval(talking));
    const twice = RunningDaemon.start(t, { services: { tftp: backend.address }, listen: { tftp: at } });
    await assert.rejects(twice, /the address is in use/, "J8: while it listens, nobody else does");
    assert.equal(await daemon.end("SIGTERM"), 0);
    const next = await RunningDaemon.start(t, { services: { tftp: backend.address }, listen: { tftp: at } });
    for (let answers = 0; answers < 3; answers += 1) assert.equal((await heard(old)).port, port);
    const fresh = await openUdp(t);
    assert.equal((await askUdp(fresh, "new", port)).text, "re:new");
    await next.find(({ event, client }) => event === "accept" && client?.port === fresh.address().port);
    const accepts = next.records.filter(({ event }) => event === "accept");
    assert.deepEqual(
      accepts.map(({ client }) => client?.port),
      [fresh.address().port],
      "the old session is not the next daemon's",
    );
    assert.ok(!daemon.records.some(({ event }) => event === "end"));
    clearInterval(talking);
    assert.equal((await daemon.find(({ event }) => event === "end")).cause, "idle_timeout");
    assert.equal((await askUdp(old, "three", port)).text, "re:three", "its next datagram is");
    await next.find(({ event, client }) => event === "accept" && client?.port === old.address().port);
  });
}

test("D9: a client whose port is closed ends its session when the backend answers", async (t) => {
  const backend = await openUdp(t);
  const daemon = await RunningDaemon.start(t, {
    services: { tftp: `udp:127.0.0.1:${backend.address().port}` },
    listen,
  });
  const client = await openUdp(t);
  const reached = heard(backend);
  client.send("x", daemon.port("tftp"), "127.0.0.1");
  const { port } = await reached;
  await daemon.find(({ event }) => event === "accept");
  await new Promise<void>((resolve) => client.close(resolve));
  for (
    let waitedMs = 0;
    !daemon.records.some(({ event }) => event === "end") && waitedMs < 5000;
    waitedMs += 50
  ) {
    backend.send("too late", port, "127.0.0.1");
    await pause(50);
  }
  assert.equal((await daemon.find(({ event }) => event === "end")).cause, "client_gone");
});

test("drain lets nobody new in and serves the UDP sessions to their idle time", async (t) => {
  const backend = await startUdpBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: yaml(service(backend.address, ", idleTimeout: 500ms")),
  });
  const port = daemon.port("tftp");
  const client = await openUdp(t);
  await askUdp(client, "one", port);
  assert.equal((await command(daemon, "drain")).status, 0);
  await daemon.find(({ event }) => event === "draining");
  assert.equal((await askUdp(client, "two", port)).text, "re:two");
  (await openUdp(t)).send("late", port, "127.0.0.1");
  assert.equal(await daemon.exited(), 0);
  const end = await daemon.find(({ event }) => event === "end");
  assert.deepEqual([end.cause, end.upBytes], ["idle_timeout", 6]);
  assert.deepEqual(backend.texts, ["one", "two"]);
});

test("H1: a backend that does not answer is told in the end record; one whose name leads nowhere too", async (t) => {
  const silent = await openUdp(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: yaml(
      `services:\n  one: {listen: ["udp:127.0.0.1:0"], backend: "udp:127.0.0.1:${silent.address().port}", idleTimeout: 200ms}\n` +
        '  two: {listen: ["udp:127.0.0.1:0"], backend: "udp:no-such-host.invalid:69"}',
    ),
  });
  const client = await openUdp(t);
  const reached = heard(silent);
  client.send("x", daemon.port("one"), "127.0.0.1");
  assert.equal((await reached).text, "x");
  const one = await daemon.find(({ event, service }) => event === "end" && service === "one");
  assert.deepEqual([one.cause, one.detail], ["idle_timeout", "the backend has not answered"]);
  client.send("x", daemon.port("two"), "127.0.0.1");
  const two = await daemon.find(({ event, service }) => event === "end" && service === "two");
  assert.equal(two.cause, "backend_unreachable");
  assert.equal(two.detail, "backend_unreachable: no-such-host.invalid ENOTFOUND");
});

test("H2: the name of a UDP backend is waited for no longer than connectTimeout, and kick ends the wait", async (t) => {
  const dns = await startDns(() => undefined);
  t.after(() => dns.close());
  const backend = 'listen: ["udp:127.0.0.1:0"], backend: "udp:db.test:69"';
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml:
      `names: {reverse: never, servers: ["${dns.address}"], hostsFile: /dev/null}\n` +
      `services:\n  one: {${backend}, connectTimeout: 200ms}\n  two: {${backend}, connectTimeout: 1m}\n`,
  });
  const client = await openUdp(t);
  client.send("x", daemon.port("two"), "127.0.0.1");
  const { id = "" } = await daemon.find(({ event }) => event === "accept");
  assert.equal((await command(daemon, "kick", id)).status, 0);
  assert.equal((await daemon.find((record) => record.event === "end" && record.id === id)).cause, "kicked");
  client.send("x", daemon.port("one"), "127.0.0.1");
  const end = await daemon.find(({ event, service }) => event === "end" && service === "one");
  assert.deepEqual([end.cause, end.detail], ["connect_timeout", "connect_timeout: db.test ETIMEDOUT"]);
});

test("J6: a socket of ListenDatagram= is taken by its name, and one of ListenStream= is refused with what to write", async (t) => {
  const backend = await startUdpBackend(t);
  const place = { host: "127.0.0.1", port: 0, isIpv6: false, isIpv6Only: false };
  const [udp, tcp] = [bindSocket({ kind: "udp", ...place }), bindSocket({ kind: "tcp", ...place })];
  t.after(() => {
    udp.close();
    tcp.close();
  });
  const start = (passed: number) =>
    RunningDaemon.start(t, {
      services: { tftp: backend.address },
      listen: { tftp: "systemd:tftp" },
      passed,
      // LISTEN_PID is the number of the process that the shell becomes.
      before: ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"'],
      environment: { LISTEN_FDS: "1", LISTEN_FDNAMES: "tftp" },
    });
  await assert.rejects(
    start(tcp.descriptor),
    /cannot listen on systemd:tftp: .*; the socket unit needs ListenDatagram=/,
  );
  const daemon = await start(udp.descriptor);
  const port = udp.address?.port ?? 0;
  assert.equal(daemon.port("tftp"), port);
  const client = await openUdp(t);
  assert.deepEqual(await askUdp(client, "one", port), { text: "re:one", port, address: "127.0.0.1" });
});

test("dual stack: udp:[::] takes IPv4 clients too, and beside udp:0.0.0.0 it leaves them to that", async (t) => {
  const backend = await startUdpBackend(t);
  const both = await RunningDaemon.start(t, {
    services: { tftp: backend.address },
    listen: { tftp: "udp:[::]:0" },
  });
  const [four, six] = [await openUdp(t), await openUdp(t, "::1")];
  assert.equal((await askUdp(four, "four", both.port("tftp"))).text, "re:four");
  assert.equal((await askUdp(six, "six", both.port("tftp"), "::1")).text, "re:six");
  const mapped = await both.find(({ event }) => event === "accept");
  assert.equal(mapped.client?.address, "::ffff:127.0.0.1");
  const probe = await openUdp(t);
  const { port } = probe.address();
  await new Promise<void>((resolve) => probe.close(resolve));
  const each = await RunningDaemon.start(t, {
    services: {},
    yaml: yaml(
      `services: {tftp: {listen: ["udp:0.0.0.0:${port}", "udp:[::]:${port}"], backend: "${backend.address}"}}`,
    ),
  });
  assert.equal((await askUdp(four, "four", port)).text, "re:four");
  assert.equal((await askUdp(six, "six", port, "::1")).text, "re:six");
  const { client } = await each.find(({ event }) => event === "accept");
  assert.equal(client?.address, "127.0.0.1");
});
