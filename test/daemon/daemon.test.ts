import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { command, control } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";

test("the daemon joins an allowed client and resets a refused one, with a record each", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    allow: "# friends\nsshd: 127.0.0.1\n",
    deny: "ALL: ALL\n",
  });
  const port = daemon.port("sshd");

  assert.deepEqual(await talk(port, { say: "hello" }), { text: "hello", end: "end" });
  const accept = await daemon.find(({ event }) => event === "accept");
  const end = await daemon.find(({ event }) => event === "end");
  assert.equal(accept.level, "info");
  assert.equal(accept.service, "sshd");
  assert.equal(accept.client?.address, "127.0.0.1");
  assert.deepEqual(accept.rule, { file: daemon.allowFile, line: 2 });
  assert.equal(accept["backend"], backend.address);
  assert.equal(typeof accept["decisionMs"], "number");
  assert.equal(end.id, accept.id);
  assert.deepEqual([end.upBytes, end.downBytes, end.cause], [5, 5, "client_closed"]);

  const refused = await talk(port, { from: "127.0.0.66", isHalfClosed: false });
  assert.deepEqual(refused, { text: "", end: "ECONNRESET" });
  const refuse = await daemon.find(({ event }) => event === "refuse");
  assert.equal(refuse.level, "warn");
  assert.equal(refuse.client?.address, "127.0.0.66");
  assert.deepEqual(refuse.rule, { file: daemon.denyFile, line: 1 });
  assert.equal(refuse.reason, "rule");
  assert.notEqual(refuse.id, accept.id);
  assert.equal(backend.connections, 1, "a refused client never reaches the backend");
});

test("the daemon fronts several services: TCP and unix-socket backends, IPv4 and IPv6 listeners", async (t) => {
  const greet = (text: string) => (socket: Socket) => void socket.end(text);
  const web = await startBackend(t, greet("web"));
  const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-unix-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const mysqld = await startBackend(t, greet("mysqld"), join(folder, "mysqld.sock"));
  const daemon = await RunningDaemon.start(t, {
    services: { web: web.address, mysqld: mysqld.address },
    listen: { mysqld: "[::1]:0" },
    deny: "web: [::1]\nmysqld: ALL EXCEPT [::1]\n",
  });
  assert.deepEqual(await talk(daemon.port("web")), { text: "web", end: "end" });
  assert.deepEqual(await talk(daemon.port("mysqld"), { host: "::1" }), { text: "mysqld", end: "end" });
});

test("an edit counts for the very next connection, and the session that is open goes on", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    allow: "",
    deny: "ftpd: ALL\n",
  });
  const port = daemon.port("sshd");
  const session = await open(t, port);
  assert.equal(await ask(session, "before"), "before");
  appendFileSync(daemon.denyFile, "sshd: ALL\n");
  assert.equal((await talk(port)).end, "ECONNRESET");
  assert.equal(await ask(session, "after"), "after");
  writeFileSync(daemon.allowFile, "sshd: 127.0.0.1\n");
  assert.equal((await talk(port, { say: "again" })).text, "again");
  await daemon.find(({ event, generation }) => event === "tables" && generation === 3); // records come a moment later
  const tables = daemon.records.filter(({ event }) => event === "tables");
  assert.deepEqual(
    tables.map(({ generation }) => generation),
    [1, 2, 3],
  );
  assert.deepEqual(tables.at(1)?.["deny"], { rules: 2 });
});

/** Without a spare worker, which would come up in the middle of a count. */
const oneProcessMore = "names: {reverse: needed}\nprocess: {workers: 1, spare: false}\n";

test("2,000 connections in a row, half refused, leave descriptors and sessions at their starting numbers", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: oneProcessMore,
    allow: "sshd: 127.0.0.1\n",
    deny: "ALL: ALL\n",
  });
  const port = daemon.port("sshd");
  await talk(port, { say: "warm" });
  await talk(port, { from: "127.0.0.66" });
  const before = daemon.descriptors();
  for (let round = 0; round < 1000; round += 1) {
    assert.equal((await talk(port, { say: "x" })).text, "x");
    assert.equal((await talk(port, { from: "127.0.0.66", isHalfClosed: false })).end, "ECONNRESET");
  }
  const count = (name: string) => daemon.records.filter(({ event }) => event === name).length;
  await daemon.find(() => count("end") + count("refuse") === 2002);
  assert.deepEqual([count("accept"), count("refuse"), count("end")], [1001, 1001, 1001]);
  assert.equal(backend.connections, 1001);
  assert.equal(daemon.descriptors(), before);
  t.diagnostic(`descriptors before and after: ${before}`);
  assert.equal(await daemon.end("SIGTERM"), 0, "no session is left that would hold up the drain");
});

test("D10: clients that vanish before they are looked at leave no trace but their record", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: oneProcessMore,
    allow: "",
    deny: "",
  });
  const before = daemon.descriptors();
  for (let round = 0; round < 200; round += 1) {
    await new Promise<void>((resolve) => {
      const socket = connect(daemon.port("sshd"), "127.0.0.1", () => {
        socket.resetAndDestroy();
        resolve();
      });
      socket.on("error", () => resolve());
    });
  }
  assert.equal((await talk(daemon.port("sshd"), { say: "still there" })).text, "still there");
  const decided = () => daemon.records.filter(({ event }) => event === "accept" || event === "refuse").length;
  await daemon.find(() => decided() === 201);
  const ended = () =>
    daemon.records.filter(({ event, reason }) => event === "end" || reason === "aborted").length;
  await daemon.find(() => ended() === 201);
  assert.equal(daemon.descriptors(), before);
});

test("a client that sends a megabyte before the verdict loses no byte of it, or is reset", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    allow: "sshd: 127.0.0.1\n",
    deny: "ALL: ALL\n",
  });
  const say = "0123456789abcdef".repeat(65_536);
  assert.equal((await talk(daemon.port("sshd"), { say })).text, say);
  assert.equal((await talk(daemon.port("sshd"), { say, from: "127.0.0.66" })).end, "ECONNRESET");
});

test("a client that never reads does not make the daemon grow", async (t) => {
  const chunk = Buffer.alloc(1024 * 1024);
  const backend = await startBackend(t, (socket) => {
    const fill = (): void => {
      while (socket.write(chunk));
    };
    socket.on("drain", fill);
    fill();
  });
  const daemon = await RunningDaemon.start(t, { services: { sshd: backend.address }, allow: "", deny: "" });
  const rss = (): number => {
    const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.workers()[0]}/status`, "utf8")) ?? [];
    return Number(kib) * 1024;
  };
  const before = rss();
  for (let client = 0; client < 8; client += 1) (await open(t, daemon.port("sshd"))).pause();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const grown = rss() - before;
  t.diagnostic(`8 sessions whose client does not read: ${Math.round(grown / 1024)} KiB more`);
  assert.ok(grown < 64 * 1024 * 1024, `${grown} bytes`);
});

test("J1: SIGTERM stops to accept, lets the open session finish, and ends with 0", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, { services: { sshd: backend.address }, allow: "", deny: "" });
  const port = daemon.port("sshd");
  const session = await open(t, port);
  assert.equal(await ask(session, "one"), "one");
  daemon.process.kill("SIGTERM");
  await daemon.find(({ event }) => event === "draining");
  assert.equal((await talk(port)).end, "ECONNREFUSED");
  assert.equal(await ask(session, "two"), "two");
  session.end();
  assert.equal(await daemon.exited(), 0);
  assert.deepEqual(
    daemon.records.slice(-2).map(({ event }) => event),
    ["end", "stopped"],
  );
});

test("J2: a second SIGTERM ends the open sessions at once", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, { services: { sshd: backend.address }, allow: "", deny: "" });
  const session = await open(t, daemon.port("sshd"));
  assert.equal(await ask(session, "one"), "one");
  const ended = new Promise<string>((resolve) =>
    session.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "")),
  );
  daemon.process.kill("SIGTERM");
  await daemon.find(({ event }) => event === "draining");
  assert.equal(await daemon.end("SIGTERM"), 0);
  assert.equal(await ended, "ECONNRESET");
  assert.equal(daemon.records.find(({ event }) => event === "end")?.cause, "drain");
});

test("H1: a backend that refuses resets the client and is named in the end record", async (t) => {
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: "unix:/nonexistent/x.sock", web: "127.0.0.1:1" },
    allow: "",
    deny: "",
  });
  assert.equal((await talk(daemon.port("web"), { isHalfClosed: false })).end, "ECONNRESET");
  assert.equal(
    (await daemon.find(({ event, service }) => event === "end" && service === "web")).cause,
    "backend_refused",
  );
  assert.equal((await talk(daemon.port("sshd"), { isHalfClosed: false })).end, "ECONNRESET");
  assert.equal(
    (await daemon.find(({ event, service }) => event === "end" && service === "sshd")).cause,
    "backend_unreachable",
  );
});

test("a service that is full refuses one more client, with the reason limit", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: "services: {sshd: {listen: ['127.0.0.1:0'], backend: '127.0.0.1:1', maxConnections: 1}}\n",
    allow: "",
    deny: "",
  });
  const session = await open(t, daemon.port("sshd"));
  assert.equal(await ask(session, "one"), "one");
  assert.equal((await talk(daemon.port("sshd"), { isHalfClosed: false })).end, "ECONNRESET");
  assert.equal((await daemon.find(({ event }) => event === "refuse")).reason, "limit");
});

test("an option with an error in it refuses, and the record says why", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    allow: "sshd: ALL : alow\n",
    deny: "",
  });
  assert.equal((await talk(daemon.port("sshd"), { isHalfClosed: false })).end, "ECONNRESET");
  const refuse = await daemon.find(({ event }) => event === "refuse");
  assert.equal(refuse.reason, "error");
  const found = await daemon.find(({ event, id }) => event === "diagnostic" && id === refuse.id);
  assert.match(String(found["message"]), /bad option name: "alow"/);
});

test("a decision that takes too long refuses, with the reason timeout", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: "services: {sshd: {listen: ['127.0.0.1:0'], backend: '127.0.0.1:1', decisionTimeout: 200ms}}\n",
    allow: "sshd: ALL : aclexec sleep 30\n",
    deny: "",
  });
  assert.equal((await talk(daemon.port("sshd"), { isHalfClosed: false })).end, "ECONNRESET");
  assert.equal((await daemon.find(({ event }) => event === "refuse")).reason, "timeout");
  assert.equal(backend.connections, 0);
});

test("a client that is kicked, or met by the last stop, while it is being decided has a record that says so", async (t) => {
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: "127.0.0.1:1" },
    allow: "sshd: ALL : aclexec sleep 30\n",
    deny: "",
  });
  const undecided = async (): Promise<string> => {
    await open(t, daemon.port("sshd"));
    for (;;) {
      const { body } = await control(daemon, "GET", "/v1/sessions");
      const [first] = body["sessions"] as { readonly id: string }[];
      if (first !== undefined) return first.id;
    }
  };
  const kicked = await undecided();
  assert.equal((await command(daemon, "kick", kicked)).status, 0);
  const refuse = await daemon.find(({ event, id }) => event === "refuse" && id === kicked);
  assert.deepEqual([refuse.reason, refuse.detail], ["error", "ended before a verdict: kicked"]);
  const drained = await undecided();
  daemon.process.kill("SIGTERM");
  await daemon.find(({ event }) => event === "draining");
  daemon.process.kill("SIGTERM");
  const last = await daemon.find(({ event, id }) => event === "refuse" && id === drained);
  assert.deepEqual([last.reason, last.detail], ["error", "ended before a verdict: drain"]);
});

test("B14: a listed peer that sends no PROXY header is refused with the reason timeout", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: `names: {reverse: never}\nservices: {sshd: {listen: ["127.0.0.1:0"], backend: "${backend.address}", proxyProtocol: {acceptFrom: [127.0.0.1], timeout: 200ms}}}\n`,
  });
  assert.equal((await talk(daemon.port("sshd"), { isHalfClosed: false })).end, "ECONNRESET");
  const refuse = await daemon.find(({ event }) => event === "refuse");
  assert.deepEqual(
    [refuse.reason, refuse.detail],
    ["timeout", "no complete PROXY header within the time limit"],
  );
  assert.equal(backend.connections, 0);
});

test("twist serves the client by a command that has its socket", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    allow: "sshd: 127.0.0.66 : twist /bin/echo you are %a\n",
    deny: "",
  });
  assert.deepEqual(await talk(daemon.port("sshd"), { from: "127.0.0.66" }), {
    text: "you are 127.0.0.66\n",
    end: "end",
  });
  const twist = await daemon.find(({ event }) => event === "twist");
  assert.equal(twist["command"], "/bin/echo you are 127.0.0.66");
  assert.equal((await daemon.find(({ event }) => event === "end")).cause, "handed_over");
  assert.equal(backend.connections, 0);
});
