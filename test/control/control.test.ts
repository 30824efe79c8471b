import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { Status } from "../../src/control/api.ts";
import { runCommand } from "../support/cli.ts";
import { command, control, rawControl } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";
import { scratchFolder } from "../support/scratch.ts";

test("G7: status says so while older tables are in force than those of the files", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, { services: { sshd: backend.address }, deny: "ftpd: ALL\n" });
  const keptNow = async (): Promise<Status["tables"]["kept"]> => {
    await talk(daemon.port("sshd"), { say: "look" }); // a connection looks at the files
    const { body } = await control(daemon, "GET", "/v1/status");
    return (body as unknown as Status).tables.kept;
  };
  assert.equal(await keptNow(), undefined);
  const aside = `${daemon.denyFile}.aside`;
  renameSync(daemon.denyFile, aside);
  mkdirSync(daemon.denyFile);
  await daemon.find(({ code }) => code === "table-kept");
  assert.deepEqual(
    (await keptNow())?.map(({ file, code, message }) => [file, code, message]),
    [[daemon.denyFile, "table-kept", "cannot read it: it is a directory now"]],
  );
  const said = await command(daemon, "status");
  assert.match(
    said.output,
    /\ntables: .*hosts\.deny: error table-kept: .*; the rules read before stay in force\n/,
  );
  writeFileSync(daemon.allowFile, "ftpd: 10.\n");
  await daemon.find(({ event, generation }) => event === "tables" && generation === 2);
  assert.equal((await keptNow())?.length, 1, "an edit of the other table does not mend this one");
  rmdirSync(daemon.denyFile);
  renameSync(aside, daemon.denyFile);
  const deadline = Date.now() + 10_000;
  while ((await keptNow()) !== undefined && Date.now() < deadline) await pause(20);
  assert.equal(await keptNow(), undefined, "the file is again what it was");
});

test("status tells the version, the services with their counters, the tables and the workers", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    allow: "sshd: 127.0.0.1\nftpd: ALL : alow\n",
    deny: "ALL: ALL\n",
  });
  const port = daemon.port("sshd");
  assert.equal((await talk(port, { say: "hello" })).text, "hello");
  assert.equal((await talk(port, { from: "127.0.0.66", isHalfClosed: false })).end, "ECONNRESET");
  const session = await open(t, port);
  assert.equal(await ask(session, "one"), "one");
  await daemon.find(({ event }) => event === "end");
  const { status, body } = await control(daemon, "GET", "/v1/status");
  assert.equal(status, 200);
  assert.match(String(body["version"]), /^\d+\.\d+\.\d+$/);
  assert.equal(body["pid"], daemon.process.pid);
  assert.equal(body["state"], "serving");
  assert.equal(body["sessions"], 1);
  assert.deepEqual(body["tables"], { generation: 1, allowRules: 2, denyRules: 1, errors: 1, warnings: 0 });
  assert.deepEqual(body["workers"], [{ pid: daemon.workers()[0], sessions: 1 }]);
  assert.deepEqual(body["lost"], { workers: 0, sessions: 0 });
  const [service] = (body as unknown as Status).services;
  assert.ok(service);
  const { name, listen, open: openNow, accepted, refused, ended, upBytes } = service;
  assert.deepEqual(
    { name, listen, openNow, accepted, refused: refused.rule, closed: ended.client_closed, upBytes },
    {
      name: "sshd",
      listen: [`127.0.0.1:${port}`],
      openNow: 1,
      accepted: 2,
      refused: 1,
      closed: 1,
      upBytes: 5,
    },
  );

  const printed = await command(daemon, "status");
  assert.match(printed.output, /^tcpwrapd \S+, process \d+, serving since \S+, 1 sessions$/m);
  assert.match(printed.output, /^sshd on 127\.0\.0\.1:\d+: 1 open, 2 accepted, 1 refused/m);
  assert.equal(printed.status, 0);
  const json = await command(daemon, "status", "--json");
  assert.equal((JSON.parse(json.output) as { sessions: number }).sessions, 1);
});

test("sessions counts the bytes of a session while it lives, and kick cuts it within a second", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, { services: { sshd: backend.address }, allow: "ALL: ALL\n" });
  const session = await open(t, daemon.port("sshd"));
  assert.equal(await ask(session, "twelve bytes"), "twelve bytes");
  const { body } = await control(daemon, "GET", "/v1/sessions");
  const [listed] = body["sessions"] as Record<string, unknown>[];
  const accept = await daemon.find(({ event }) => event === "accept");
  assert.equal(listed?.["id"], accept.id);
  assert.equal(listed?.["state"], "accepted");
  assert.equal(listed?.["backend"], backend.address);
  assert.deepEqual(listed?.["traffic"], { upBytes: 12, downBytes: 12 });
  assert.match((await command(daemon, "sessions")).output, new RegExp(`^${accept.id} +sshd +accepted`, "m"));

  const closed = new Promise<void>((resolve) => session.once("close", () => resolve()));
  const askedAt = performance.now();
  assert.equal((await command(daemon, "kick", String(accept.id))).output, "kicked\n");
  await closed;
  assert.ok(performance.now() - askedAt < 5000);
  const end = await daemon.find(({ event }) => event === "end");
  assert.deepEqual([end.id, end.cause], [accept.id, "kicked"]);
  const again = await command(daemon, "kick", String(accept.id));
  assert.deepEqual([again.status, again.errors], [1, `tcpwrapd: no session has the id "${accept.id}"\n`]);
});

for (const workers of [0, 1])
  test(`drain lets nobody in any more, and the daemon of ${workers} workers ends after its last session`, async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: { sshd: backend.address },
      allow: "ALL: ALL\n",
      yaml: `process: {workers: ${workers}}\n`,
    });
    const port = daemon.port("sshd");
    const session = await open(t, port);
    assert.equal(await ask(session, "one"), "one");
    const { output } = await command(daemon, "drain");
    assert.equal(output, "nobody is let in any more; 1 session is left\n");
    await daemon.find(({ event }) => event === "draining");
    assert.equal((await talk(port)).end, "ECONNREFUSED");
    assert.equal((await control(daemon, "GET", "/v1/status")).body["state"], "draining");
    assert.equal(await ask(session, "two"), "two");
    session.end();
    assert.equal(await daemon.exited(), 0);
  });

test("a command with the configuration of another daemon does nothing, and says which one has answered", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, { services: { sshd: backend.address } });
  const session = await open(t, daemon.port("sshd"));
  assert.equal(await ask(session, "one"), "one");
  const { id = "" } = await daemon.find(({ event }) => event === "accept");
  const other = join(daemon.folder, "mysqld.yaml");
  writeFileSync(other, "");
  const socket = ["--control-socket", daemon.controlSocket];
  for (const words of [["reload"], ["confirm"], ["drain"], ["kick", id]]) {
    const { status, output, errors } = await runCommand([...words, "-c", other, ...socket]);
    assert.deepEqual([status, output], [69, ""], words[0]);
    assert.match(
      errors,
      /^tcpwrapd: the daemon on \S+control\.sock \(process \d+\) runs with \S+tcpwrapd\.yaml, not with \S+mysqld\.yaml: nothing was done; .*--control-socket/,
    );
  }
  assert.equal(await ask(session, "two"), "two");
  const status = (await control(daemon, "GET", "/v1/status")).body as unknown as Status;
  assert.equal(status.configuration, daemon.configFile);
  assert.deepEqual([status.state, status.lastReload, status.refusedReloads], ["serving", undefined, 0]);
  assert.equal((await runCommand(["status", "-c", other, ...socket])).status, 0, "to look is no harm");
  const link = join(daemon.folder, "link.yaml");
  symlinkSync(daemon.configFile, link);
  assert.equal((await runCommand(["kick", id, "-c", link, ...socket])).output, "kicked\n");
  assert.equal((await runCommand(["drain", ...socket])).status, 0, "without -c nothing is compared");
});

test("without a daemon every command says so, with exit status 69", async (t) => {
  const daemon = await RunningDaemon.start(t, { services: { sshd: "127.0.0.1:1" } });
  await daemon.end("SIGTERM");
  for (const name of ["status", "sessions", "reload", "confirm", "drain"]) {
    const ran = await command(daemon, name);
    assert.equal(ran.status, 69, name);
    assert.match(
      ran.errors,
      /^tcpwrapd: no daemon answers on .*control\.sock: there is no such socket; .*\n$/,
    );
  }
  assert.equal((await command(daemon, "kick", "abc")).status, 69);
});

test("L1: the control socket is for its owner and its group", async (t) => {
  const daemon = await RunningDaemon.start(t, { services: { sshd: "127.0.0.1:1" } });
  assert.equal(statSync(daemon.controlSocket).mode & 0o777, 0o660);
});

test("J4: a control socket that a killed daemon left behind is replaced, one that answers is not, nor is a file", async (t) => {
  const options = { services: { sshd: "127.0.0.1:1" } };
  const killed = await RunningDaemon.start(t, options);
  const path = killed.controlSocket;
  const args = ["--control-socket", path];
  await killed.end("SIGKILL");
  assert.ok(statSync(path).isSocket(), "the killed daemon could not tidy up");
  const next = await RunningDaemon.start(t, { ...options, args });
  await assert.rejects(RunningDaemon.start(t, { ...options, args }), /another daemon answers on/);
  assert.match(await rawControl(path, "GET /v1/status HTTP/1.0\r\n\r\n"), /^HTTP\/1\.1 200 OK/);
  await next.end("SIGTERM");
  writeFileSync(path, "precious");
  await assert.rejects(RunningDaemon.start(t, { ...options, args }), /is there and is no socket/);
  assert.equal(statSync(path).size, 8);
});

const garbage: [what: string, bytes: string | Buffer, answer: RegExp][] = [
  ["no HTTP", "hello\r\n\r\n", /^HTTP\/1\.1 400 [^]*\r\n\r\n\{"error":".*"\}\n$/],
  [
    "bytes of every kind",
    Buffer.from(Array.from({ length: 4096 }, (_, index) => index % 256)),
    /^HTTP\/1\.1 400 /,
  ],
  ["an endless header line", `GET / HTTP/1.1\r\nx: ${"a".repeat(100_000)}`, /^HTTP\/1\.1 400 /],
  ["an endless path", `GET /${"a".repeat(100_000)} HTTP/1.1\r\n\r\n`, /^HTTP\/1\.1 400 /],
  ["no such path", "GET /v2/status HTTP/1.0\r\n\r\n", /^HTTP\/1\.1 404 [^]*no such path/],
  ["a path upwards", "GET /v1/../../etc/passwd HTTP/1.0\r\n\r\n", /^HTTP\/1\.1 404 /],
  ["the wrong method", "DELETE /v1/status HTTP/1.0\r\n\r\n", /^HTTP\/1\.1 405 [^]*allow: GET\r\n[^]*use GET/],
  ["an id that nobody has", "DELETE /v1/sessions/ABC HTTP/1.0\r\n\r\n", /^HTTP\/1\.1 404 [^]*no session/],
  ["an id that is none", "DELETE /v1/sessions/%00 HTTP/1.0\r\n\r\n", /^HTTP\/1\.1 404 /],
  [
    "a body that is no JSON",
    "POST /v1/reload HTTP/1.0\r\ncontent-length: 3\r\n\r\n{{{",
    /^HTTP\/1\.1 400 [^]*no JSON/,
  ],
  ["a body that is no object", "POST /v1/reload HTTP/1.0\r\ncontent-length: 2\r\n\r\n[]", /^HTTP\/1\.1 400 /],
  [
    "an unknown key",
    'POST /v1/reload HTTP/1.0\r\ncontent-length: 16\r\n\r\n{"confirm": "1"}',
    /^HTTP\/1\.1 400 [^]*unknown key/,
  ],
  [
    "a window of no length",
    'POST /v1/reload HTTP/1.0\r\ncontent-length: 16\r\n\r\n{"confirmMs": 0}',
    /^HTTP\/1\.1 400 /,
  ],
  [
    "a body beyond the bound",
    `POST /v1/reload HTTP/1.0\r\ncontent-length: 100000\r\n\r\n${" ".repeat(100_000)}`,
    /^HTTP\/1\.1 413 |^$/,
  ],
];

test("L1: garbage on the control socket gets an error, and the daemon goes on", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, { services: { sshd: backend.address }, allow: "ALL: ALL\n" });
  for (const [what, bytes, answer] of garbage)
    assert.match(await rawControl(daemon.controlSocket, bytes), answer, what);
  assert.match(await rawControl(daemon.controlSocket, "GET /v1", true), /^HTTP\/1\.1 400 /, "half a request");
  const silent = Array.from({ length: 40 }, () => rawControl(daemon.controlSocket, "GET"));
  assert.equal((await talk(daemon.port("sshd"), { say: "still here" })).text, "still here");
  assert.equal(await daemon.end("SIGTERM"), 0, "peers that say nothing do not hold the daemon up");
  await Promise.all(silent);
  assert.deepEqual(
    daemon.records.filter(({ code }) => code === "control"),
    [],
    "none of it is a fault of ours",
  );
});

test("L1: peers that have been answered and stay do not keep others out", async (t) => {
  const daemon = await RunningDaemon.start(t, { services: { sshd: "127.0.0.1:1" } });
  const stayers = await Promise.all(
    Array.from({ length: 32 }, async () => {
      const stayer = connect({ path: daemon.controlSocket, allowHalfOpen: true });
      stayer.on("error", () => undefined);
      stayer.write("no HTTP\r\n\r\n");
      await once(stayer, "readable");
      return stayer;
    }),
  );
  const { status, output, errors } = await command(daemon, "status");
  assert.equal(status, 0, errors);
  assert.match(output, /^tcpwrapd /);
  for (const stayer of stayers) stayer.destroy();
});

/** Becomes somebody else, connects, and prints whether that was possible. Started as root: not everybody may run this Node. */
const knock = `const [path, uid, gid] = process.argv.slice(1);
  process.setgroups([]); process.setgid(Number(gid)); process.setuid(Number(uid));
  require("net").connect(path)
  .on("connect", () => { console.log("connected"); process.exit(); })
  .on("error", ({ code }) => console.log(code));`;
const isRoot = process.getuid?.() === 0;

test(
  "L1: another user cannot even connect to the control socket, one of its group can",
  { skip: isRoot ? false : "only root can become somebody else; run this test as root" },
  async (t) => {
    const daemon = await RunningDaemon.start(t, {
      services: { sshd: "127.0.0.1:1" },
      yaml: "control: {group: daemon}\n",
      folderMode: 0o755,
    });
    const knockAs = (uid: number, gid: number): string =>
      spawnSync(process.execPath, ["-e", knock, daemon.controlSocket, `${uid}`, `${gid}`], {
        encoding: "utf8",
      }).stdout;
    const group = statSync(daemon.controlSocket).gid;
    assert.equal(knockAs(65_534, 65_534), "EACCES\n");
    assert.equal(knockAs(65_534, group), "connected\n");
  },
);

const floods: [what: string, start: string][] = [
  ["a line of a gigabyte that is no HTTP", ""],
  ["a path of a gigabyte", "GET /"],
  ["a header of a gigabyte", "GET /v1/status HTTP/1.1\r\nx: "],
  ["a body of a gigabyte", `POST /v1/reload HTTP/1.1\r\nhost: x\r\ncontent-length: ${2 ** 30}\r\n\r\n`],
  [
    "a chunk of a gigabyte",
    "POST /v1/reload HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n40000000\r\n",
  ],
];
for (const [what, start] of floods)
  test(`L1: ${what} on the control socket is cut short, and takes no memory`, async (t) => {
    const daemon = await RunningDaemon.start(t, { services: { sshd: "127.0.0.1:1" } });
    const written = await flood(daemon.controlSocket, start);
    assert.ok(written < 8 << 20, `${written} bytes were taken`);
    assert.equal((await control(daemon, "GET", "/v1/status")).status, 200);
    const [, peakKiB] =
      /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${daemon.process.pid}/status`, "utf8")) ?? [];
    assert.ok(Number(peakKiB) < 300 << 10, `${peakKiB} KiB at most`);
  });

/** Writes up to a gigabyte, as long as it is taken; the bytes that were. */
async function flood(path: string, start: string): Promise<number> {
  const socket = connect(path);
  socket.on("error", () => undefined);
  socket.resume();
  const piece = Buffer.alloc(1 << 20, "a");
  const isClosed = new Promise<"closed">((resolve) => socket.once("close", () => resolve("closed")));
  socket.write(start);
  for (let left = 1024; left > 0; left -= 1) {
    const taken = new Promise<"taken">((resolve) => socket.write(piece, () => resolve("taken")));
    if ((await Promise.race([taken, isClosed])) === "closed") break;
  }
  socket.destroy();
  await isClosed;
  return socket.bytesWritten;
}

test("a control socket that was asked for and cannot be made is an error, and nothing is left running", async (t) => {
  const missing = join("/nonexistent", "control.sock");
  await assert.rejects(
    RunningDaemon.start(t, { services: { sshd: "127.0.0.1:1" }, args: ["--control-socket", missing] }),
    /no control socket on \/nonexistent\/control\.sock: .*its folder must exist/,
  );
});

test("status reads what a daemon of before says, which an upgrade of the package leaves running", async (t) => {
  const now = await RunningDaemon.start(t, {
    services: {},
    yaml: 'services: {dbd: {listen: ["127.0.0.1:0"], backend: ["127.0.0.1:1", "127.0.0.1:2"]}}\n',
  });
  const status = (await control(now, "GET", "/v1/status")).body as unknown as Status;
  const { olderWorkers: _, ...before } = status;
  const services = before.services.map((each) => ({
    ...each,
    backends: each.backends.map(({ sessions: _count, ...known }) => known),
  }));
  const path = join(scratchFolder(t), "before.sock");
  const server = createHttpServer((_request, response) =>
    response.end(JSON.stringify({ ...before, services })),
  );
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  const asked = await runCommand(["status", "--control-socket", path]);
  assert.equal(asked.status, 0, asked.errors);
  assert.match(asked.output, /^dbd on 127\.0\.0\.1:\d+: 0 open/m);
  assert.doesNotMatch(asked.output, /undefined|NaN/);
});
