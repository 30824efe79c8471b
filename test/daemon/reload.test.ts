import assert from "node:assert/strict";
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import type { Status } from "../../src/control/api.ts";
import type { OpenSession } from "../../src/record/entry.ts";
import { runCommand } from "../support/cli.ts";
import { command, control } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { startLoad } from "../support/load.ts";
import { ask, open, type Seen, startBackend, talk } from "../support/peers.ts";

/** So many reloads under load; 1,000 for a long look. */
const reloads = Number(process.env["TCPWRAPD_RELOADS"] ?? "25");

/** A daemon whose services stand in its file, where a test can change them; port 0 asks for any. */
async function startWith(t: TestContext, yaml: string, tables: { allow?: string; deny?: string } = {}) {
  return await RunningDaemon.start(t, { services: {}, yaml, ...tables });
}

function service(name: string, port: number, backend: string, more = ""): string {
  return `  ${name}: {listen: ["127.0.0.1:${port}"], backend: "${backend}"${more}}\n`;
}

const head = "names: {reverse: never}\nservices:\n";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function statusOf(daemon: RunningDaemon): Promise<Status> {
  return (await control(daemon, "GET", "/v1/status")).body as unknown as Status;
}

function codes(daemon: RunningDaemon, code: string): number {
  return daemon.records.filter((record) => record["code"] === code).length;
}

test("G12: a reload adds a service and takes another away, whose session goes on; a listener that stays is not touched", async (t) => {
  const backend = await startBackend(t);
  const daemon = await startWith(
    t,
    head + service("stays", 0, backend.address) + service("goes", 0, backend.address),
  );
  const [stays, goes] = [daemon.port("stays"), daemon.port("goes")];
  const session = await open(t, goes);
  assert.equal(await ask(session, "one"), "one");
  const kept = await open(t, stays);
  assert.equal(await ask(kept, "one"), "one");
  writeFileSync(
    daemon.configFile,
    head + service("stays", 0, backend.address) + service("comes", 0, backend.address),
  );
  const reloaded = await command(daemon, "reload", "--json");
  assert.equal(reloaded.status, 0, reloaded.errors);
  const { opened, closed } = JSON.parse(reloaded.output) as { opened: string[]; closed: string[] };
  assert.deepEqual(closed, [`goes on 127.0.0.1:${goes}`]);
  const comes = Number(/^comes on 127\.0\.0\.1:(\d+)$/.exec(opened[0] ?? "")?.[1]);
  assert.equal((await talk(stays, { say: "same port" })).text, "same port");
  assert.equal((await talk(comes, { say: "new port" })).text, "new port");
  assert.equal((await talk(goes)).end, "ECONNREFUSED");
  assert.equal(await ask(session, "two"), "two");
  assert.equal(await ask(kept, "two"), "two");
  assert.equal(
    daemon.records.filter(({ event }) => event === "tables").length,
    1,
    "the tables did not change",
  );
});

test("a reload gives a socket to another service without closing it", async (t) => {
  const backend = await startBackend(t);
  const port = await freePort();
  const daemon = await startWith(t, head + service("one", port, backend.address), { deny: "two: ALL\n" });
  const session = await open(t, port);
  assert.equal(await ask(session, "one"), "one");
  writeFileSync(daemon.configFile, head + service("two", port, backend.address));
  const { output } = await command(daemon, "reload", "--json");
  const { opened, closed } = JSON.parse(output) as { opened: string[]; closed: string[] };
  assert.deepEqual([opened, closed], [[], []]);
  assert.equal(
    (await talk(port, { isHalfClosed: false })).end,
    "ECONNRESET",
    "the tables are asked about two",
  );
  assert.equal(await ask(session, "two"), "two");
  const { services } = (await control(daemon, "GET", "/v1/status")).body as unknown as Status;
  assert.deepEqual(services.find(({ name }) => name === "two")?.listen, [`127.0.0.1:${port}`]);
});

test("G5: a broken configuration is refused with its place, by the command and at SIGHUP, and the old one stays", async (t) => {
  const backend = await startBackend(t);
  const yaml = head + service("sshd", 0, backend.address);
  const daemon = await startWith(t, yaml);
  writeFileSync(daemon.configFile, `${yaml}limts: {}\n`);
  const ran = await command(daemon, "reload");
  assert.equal(ran.status, 78);
  assert.match(
    ran.errors,
    /tcpwrapd\.yaml:4:1: error unknown-key: unknown key "limts".*did you mean "limits"/,
  );
  daemon.process.kill("SIGHUP");
  await daemon.find(() => codes(daemon, "reload-refused") === 2);
  const refused = await daemon.find(({ code }) => code === "reload-refused");
  assert.equal(refused.level, "error");
  assert.match(String(refused["message"]), /tcpwrapd\.yaml:4:1: error unknown-key/);
  const { lastReload, refusedReloads } = await statusOf(daemon);
  assert.equal(lastReload?.ok, false);
  assert.match(lastReload.reason ?? "", /tcpwrapd\.yaml:4:1: error unknown-key/);
  assert.match(lastReload.at, /^\d{4}-\d\d-\d\dT/);
  assert.equal(refusedReloads, 2);
  const { output } = await command(daemon, "status");
  assert.match(output, /^the reload at \S+ was refused: .*unknown-key.*; everything is as it was before$/m);
  assert.match(output, /^2 reloads refused since the start$/m);
  assert.equal((await talk(daemon.port("sshd"), { say: "still" })).text, "still");
  writeFileSync(
    daemon.configFile,
    `${head}${service("sshd", 0, backend.address)}${service("low", 1, "127.0.0.1:1").replace('127.0.0.1:1"', '192.0.2.1:1"')}`,
  );
  const cannot = await command(daemon, "reload");
  assert.equal(cannot.status, 78);
  assert.match(cannot.errors, /cannot listen on 192\.0\.2\.1:1: this machine has no such address/);
  writeFileSync(daemon.configFile, yaml);
  assert.equal((await command(daemon, "reload")).status, 0);
  const mended = await statusOf(daemon);
  assert.deepEqual([mended.lastReload?.ok, mended.lastReload?.reason], [true, undefined]);
  assert.equal(mended.refusedReloads, 3);
  assert.equal((await talk(daemon.port("sshd"), { say: "still" })).text, "still");
});

test("a reload changes what a service does: its backend, its limit, its tables", async (t) => {
  const [first, second] = [
    await startBackend(t, (socket) => void socket.end("first")),
    await startBackend(t, (socket) => void socket.end("second")),
  ];
  const daemon = await startWith(t, head + service("sshd", 0, first.address));
  const port = daemon.port("sshd");
  assert.equal((await talk(port)).text, "first");
  writeFileSync(daemon.configFile, head + service("sshd", 0, second.address));
  assert.equal((await command(daemon, "reload")).status, 0);
  assert.equal((await talk(port)).text, "second");
  writeFileSync(daemon.configFile, `${head}${service("sshd", 0, second.address)}access: {noMatch: refuse}\n`);
  assert.equal((await command(daemon, "reload")).status, 0);
  assert.equal((await talk(port, { isHalfClosed: false })).end, "ECONNRESET");
  await daemon.find(({ event, generation }) => event === "tables" && generation === 2);
});

test("G1: a reload while a table is half written waits for the whole of it", async (t) => {
  const backend = await startBackend(t);
  const yaml = head + service("sshd", 0, backend.address);
  const daemon = await startWith(t, yaml, { deny: "sshd: 127.0.0.66\n" });
  const port = daemon.port("sshd");
  assert.equal((await talk(port, { say: "in" })).text, "in");
  writeFileSync(daemon.configFile, `${yaml}access: {recheck: cut}\n`);
  truncateSync(daemon.denyFile);
  let isReloaded = false;
  const reloading = control(daemon, "POST", "/v1/reload").finally(() => (isReloaded = true));
  const refused = talk(port, { from: "127.0.0.66", isHalfClosed: false });
  // A slow writer; half a second of quiet would mean that it is done.
  for (let round = 0; round < 15 && !isReloaded; round += 1) {
    appendFileSync(daemon.denyFile, "#");
    await pause(100);
  }
  appendFileSync(daemon.denyFile, "\nsshd: 127.0.0.66\n");
  assert.equal((await reloading).status, 200);
  assert.equal((await refused).end, "ECONNRESET");
  const rules = daemon.records.flatMap(({ event, deny }) =>
    event === "tables" ? [(deny as { rules: number }).rules] : [],
  );
  assert.deepEqual(new Set(rules), new Set([1]));
});

test("G12: a limit lowered below what is open only keeps new clients out", async (t) => {
  const backend = await startBackend(t);
  const daemon = await startWith(t, head + service("sshd", 0, backend.address));
  const port = daemon.port("sshd");
  const sessions = [await open(t, port), await open(t, port)];
  for (const session of sessions) assert.equal(await ask(session, "one"), "one");
  writeFileSync(daemon.configFile, head + service("sshd", 0, backend.address, ", maxConnections: 1"));
  assert.equal((await command(daemon, "reload")).status, 0);
  assert.equal((await talk(port, { isHalfClosed: false })).end, "ECONNRESET");
  for (const session of sessions) assert.equal(await ask(session, "two"), "two");
});

test("a key that only counts at the start is named", async (t) => {
  const daemon = await startWith(t, head + service("sshd", 0, "127.0.0.1:1"));
  writeFileSync(daemon.configFile, `${head}${service("sshd", 0, "127.0.0.1:1")}relay: reference\n`);
  assert.match(
    (await command(daemon, "reload")).output,
    /^"relay" has changed, and counts after a restart$/m,
  );
});

test("G11: a storm of SIGHUP makes a few reloads, and one during the stop does nothing", async (t) => {
  const backend = await startBackend(t);
  const daemon = await startWith(t, head + service("sshd", 0, backend.address));
  const session = await open(t, daemon.port("sshd"));
  assert.equal(await ask(session, "one"), "one");
  for (let count = 0; count < 200; count += 1) daemon.process.kill("SIGHUP");
  await daemon.find(({ code }) => code === "reloaded");
  await control(daemon, "POST", "/v1/reload");
  t.diagnostic(`200 SIGHUP made ${codes(daemon, "reloaded") - 1} reloads`);
  assert.ok(codes(daemon, "reloaded") < 50);
  daemon.process.kill("SIGTERM");
  daemon.process.kill("SIGHUP");
  await daemon.find(({ event }) => event === "draining");
  daemon.process.kill("SIGHUP");
  assert.equal(await ask(session, "two"), "two");
  session.end();
  assert.equal(await daemon.exited(), 0);
});

test("G11: SIGHUP during the start neither ends the daemon nor is lost", async (t) => {
  const backend = await startBackend(t);
  // From the moment that the program hears SIGHUP: bit 0 of the caught signals in proc(5).
  const catchesHangup = (pid: number): boolean =>
    /^SigCgt:\s+[0-9a-f]*[13579bdf]$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  let hangups = 0;
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: head + service("sshd", 0, backend.address),
    whileStarting: (child) => {
      if (child.exitCode !== null || !catchesHangup(child.pid ?? 0)) return;
      child.kill("SIGHUP");
      hangups += 1;
    },
  });
  assert.ok(hangups > 0, "a SIGHUP came before it was ready");
  assert.equal((await talk(daemon.port("sshd"), { say: "alive" })).text, "alive");
  assert.equal(await daemon.end("SIGTERM"), 0);
});

test(`G8: ${reloads} reloads under load refuse no good client and let no bad one in`, async (t) => {
  const backend = await startBackend(t);
  const one = head + service("sshd", 0, backend.address);
  const daemon = await startWith(t, one, { deny: "sshd: 127.0.0.66\n" });
  const port = daemon.port("sshd");
  const stopGood = startLoad(t, port, 100);
  const stopBad = startLoad(t, port, 20, "127.0.0.66");
  const rss = (): number => {
    const [worker = 0] = daemon.workers();
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${worker}/status`, "utf8"))?.[1]);
  };
  let warm = 0;
  for (let count = 0; count < reloads; count += 1) {
    const isEven = count % 2 === 0;
    writeFileSync(daemon.configFile, isEven ? one + service("web", 0, backend.address) : one);
    const { status, body } = await control(daemon, "POST", "/v1/reload");
    assert.equal(status, 200, JSON.stringify(body));
    if (count === Math.floor(reloads / 5)) warm = rss();
  }
  const grown = rss() - warm;
  const [good, bad] = [await stopGood(), await stopBad()];
  t.diagnostic(`good ${JSON.stringify(good)}, bad ${JSON.stringify(bad)}, ${grown} KiB more`);
  assert.deepEqual(good.failed, {});
  assert.equal(bad.answered, 0);
  assert.deepEqual(Object.keys(bad.failed), ["ECONNRESET"]);
  await daemon.find(() => codes(daemon, "reloaded") === reloads);
});

for (const recheck of ["keep", "cut"]) {
  test(`G10: with recheck ${recheck}, a session that new tables would refuse ${recheck === "cut" ? "is cut within a second" : "goes on"}`, async (t) => {
    const backend = await startBackend(t);
    const yaml = `${head}${service("sshd", 0, backend.address)}access: {recheck: ${recheck}}\n`;
    const daemon = await startWith(t, yaml, { deny: "" });
    const session = await open(t, daemon.port("sshd"));
    const other = await open(t, daemon.port("sshd"), "127.0.0.1");
    assert.equal(await ask(session, "one"), "one");
    assert.equal(await ask(other, "one"), "one");
    const closed = new Promise<void>((resolve) => session.once("close", () => resolve()));
    const editedAt = performance.now();
    writeFileSync(daemon.denyFile, "sshd: 127.0.0.1\n");
    await daemon.find(({ event, generation }) => event === "tables" && generation === 2);
    if (recheck === "keep") return assert.equal(await ask(session, "two"), "two");
    await closed;
    t.diagnostic(`cut after ${Math.round(performance.now() - editedAt)} ms`);
    const end = await daemon.find(({ event }) => event === "end");
    assert.deepEqual([end.cause, end.detail], ["kicked", "policy_revoked"]);
  });
}

test("G14: tables that nobody confirms are taken back, until a file changes again", async (t) => {
  const backend = await startBackend(t);
  const daemon = await startWith(t, head + service("sshd", 0, backend.address), {
    deny: "ALL: 127.0.0.66\n",
  });
  const port = daemon.port("sshd");
  assert.equal((await talk(port, { say: "in" })).text, "in");
  appendFileSync(daemon.denyFile, "ALL: ALL\n");
  assert.equal((await talk(port, { isHalfClosed: false })).end, "ECONNRESET");
  const reloaded = await command(daemon, "reload", "--confirm", "500ms");
  assert.match(reloaded.output, /^undone in 0\.5 s, unless you say: tcpwrapd confirm$/m);
  const unconfirmed = await daemon.find(({ code }) => code === "unconfirmed");
  assert.match(
    String(unconfirmed["message"]),
    /generation 2 of the tables is taken back, those of generation 1 are in force again as generation 3/,
  );
  assert.equal((await talk(port, { say: "in again" })).text, "in again");
  assert.equal((await talk(port, { from: "127.0.0.66", isHalfClosed: false })).end, "ECONNRESET");
  assert.equal((await command(daemon, "confirm")).status, 1, "too late");
  writeFileSync(daemon.denyFile, "ALL: 127.0.0.66\n# repaired\n");
  await daemon.find(({ event, generation }) => event === "tables" && generation === 4);
  assert.equal((await talk(port, { say: "in still" })).text, "in still");
});

/** Kills a worker that serves, and waits until another one has its place. */
async function replaceWorker(daemon: RunningDaemon): Promise<void> {
  const { workers: before } = await statusOf(daemon);
  const [killed] = before;
  assert.ok(killed);
  process.kill(killed.pid, "SIGKILL");
  await daemon.find(
    ({ code, message }) => code === "worker-died" && String(message).includes(`${killed.pid}`),
  );
  for (;;) {
    const { workers: now } = await statusOf(daemon);
    if (now.length === before.length && now.every(({ pid }) => pid !== killed.pid)) return;
    await pause(50);
  }
}

/** Every worker is asked, sooner or later: who of them accepts is the kernel's choice. */
async function seeOften(port: number, fits: (seen: Seen) => boolean, from?: string): Promise<void> {
  for (let count = 0; count < 10; count += 1) {
    const seen = await talk(port, { say: "in", isHalfClosed: false, ...(from !== undefined && { from }) });
    assert.ok(fits(seen), JSON.stringify(seen));
  }
}

const isIn = ({ text }: Seen): boolean => text === "in";
const isReset = ({ end }: Seen): boolean => end === "ECONNRESET";

for (const workers of [1, 2]) {
  const start = async (t: TestContext): Promise<RunningDaemon> => {
    const backend = await startBackend(t, (socket) => void socket.once("data", (said) => socket.end(said)));
    const yaml = `${head}${service("sshd", 0, backend.address)}process: {workers: ${workers}}\n`;
    const daemon = await startWith(t, yaml, { deny: "ALL: 127.0.0.66\n" });
    appendFileSync(daemon.denyFile, "ALL: ALL\n");
    await seeOften(daemon.port("sshd"), isReset);
    return daemon;
  };

  test(`G14: a worker of ${workers} that is killed inside the window has a successor that takes the tables back as well`, async (t) => {
    const daemon = await start(t);
    const port = daemon.port("sshd");
    assert.equal((await command(daemon, "reload", "--confirm", "1h")).status, 0);
    await replaceWorker(daemon);
    await seeOften(port, isReset);
    // A shorter window brings back what the first one would.
    assert.equal((await command(daemon, "reload", "--confirm", "300ms")).status, 0);
    const { message } = await daemon.find(({ code }) => code === "unconfirmed");
    assert.match(String(message), /those of generation 1 (?:are in force again as|come into force with)/);
    await seeOften(port, isIn);
    await seeOften(port, isReset, "127.0.0.66");
  });

  test(`G14: a worker of ${workers} that is killed after the take-back has a successor that holds the same tables, until a file changes`, async (t) => {
    const daemon = await start(t);
    const port = daemon.port("sshd");
    assert.equal((await command(daemon, "reload", "--confirm", "300ms")).status, 0);
    const { message } = await daemon.find(({ code }) => code === "unconfirmed");
    assert.match(String(message), /those of generation 1 are in force again as generation/);
    await replaceWorker(daemon);
    await seeOften(port, isIn);
    await seeOften(port, isReset, "127.0.0.66");
    writeFileSync(daemon.denyFile, "ALL: 127.0.0.77\n");
    await seeOften(port, isReset, "127.0.0.77");
    await replaceWorker(daemon);
    await seeOften(port, isReset, "127.0.0.77");
    await seeOften(port, isIn, "127.0.0.66");
  });
}

test("G14: a daemon that is stopped inside the window says that nobody takes anything back", async (t) => {
  const daemon = await startWith(t, head + service("sshd", 0, "127.0.0.1:1"), { deny: "" });
  assert.equal((await command(daemon, "reload", "--confirm", "1h")).status, 0);
  assert.equal(await daemon.end("SIGTERM"), 0);
  const { level, message } = await daemon.find(({ code }) => code === "unconfirmed");
  assert.equal(level, "error");
  assert.match(String(message), /^the daemon ends while the last reload is neither confirmed nor undone: /);
});

test("G14: an edit during the window is taken back too, and so is the configuration", async (t) => {
  const backend = await startBackend(t);
  const yaml = head + service("sshd", 0, backend.address);
  const daemon = await startWith(t, yaml, { deny: "" });
  const port = daemon.port("sshd");
  writeFileSync(daemon.configFile, `${yaml}access: {noMatch: refuse}\n`);
  assert.equal((await command(daemon, "reload", "--confirm", "1500ms")).status, 0);
  assert.equal((await talk(port, { isHalfClosed: false })).end, "ECONNRESET");
  writeFileSync(daemon.denyFile, "ALL: ALL\n");
  assert.equal(
    typeof ((await control(daemon, "GET", "/v1/status")).body["unconfirmed"] as { untilMs: number }).untilMs,
    "number",
  );
  await daemon.find(({ code }) => code === "unconfirmed");
  assert.equal((await talk(port, { say: "in again" })).text, "in again");
});

test("G14: confirm keeps what is in force", async (t) => {
  const backend = await startBackend(t);
  const daemon = await startWith(t, head + service("sshd", 0, backend.address), { deny: "" });
  writeFileSync(daemon.denyFile, "ALL: 127.0.0.66\n");
  await daemon.find(({ event, generation }) => event === "tables" && generation === 2);
  assert.equal((await command(daemon, "reload", "--confirm", "3s")).status, 0);
  assert.equal((await command(daemon, "confirm")).output, "confirmed\n");
  await pause(3500); // the end of the window
  assert.equal(codes(daemon, "unconfirmed"), 0);
  assert.equal((await talk(daemon.port("sshd"), { from: "127.0.0.66" })).end, "ECONNRESET");
  assert.equal((await command(daemon, "confirm")).status, 1);
});

/** A daemon whose tables are named by flags, and what to call its `reload` with. */
async function startGuarded(t: TestContext, deny: string, backend = "127.0.0.1:1") {
  const daemon = await startWith(t, head + service("sshd", 0, backend), { deny });
  const files = ["--allow-file", daemon.allowFile, "--deny-file", daemon.denyFile];
  const flags = ["-c", daemon.configFile, "--control-socket", daemon.controlSocket, ...files];
  return { daemon, flags };
}

test("--protect refuses tables that would refuse the operator", async (t) => {
  const { daemon, flags } = await startGuarded(t, "sshd: 192.0.2.0/24\n");
  const reload = (...more: string[]) => runCommand(["reload", ...flags, ...more]);
  const refused = await reload("--protect", "192.0.2.7");
  assert.equal(refused.status, 78);
  assert.match(
    refused.errors,
    /^tcpwrapd: error: sshd would refuse you \(192\.0\.2\.7\): .*hosts\.deny:1\ntcpwrapd: nothing was done/,
  );
  assert.equal(codes(daemon, "reloaded"), 0);
  assert.equal((await reload("--protect", "192.0.3.7")).status, 0);
  assert.equal((await reload("--protect", "office")).status, 64);
});

const wayIn = "192.0.2.7 50022 198.51.100.1 22";
const shells: [what: string, shell: NonNullable<Parameters<typeof runCommand>[1]>][] = [
  ["an ssh session", { environment: { SSH_CONNECTION: wayIn } }],
  ["sudo in an ssh session", { ancestors: [{ SUDO_USER: "bob" }, { SSH_CONNECTION: wayIn }] }],
];
for (const [what, shell] of shells)
  test(`${what} that the tables would refuse is warned; with --protect alone nothing is done`, async (t) => {
    const { daemon, flags } = await startGuarded(t, "sshd: 192.0.2.0/24\n");
    const refused = await runCommand(["reload", ...flags, "--protect"], shell);
    assert.equal(refused.status, 78);
    assert.match(refused.errors, /^tcpwrapd: error: sshd would refuse you \(192\.0\.2\.7\): /);
    assert.equal(codes(daemon, "reloaded"), 0);
    const warned = await runCommand(["reload", ...flags], shell);
    assert.equal(warned.status, 0);
    assert.match(
      warned.errors,
      /^tcpwrapd: warning: sshd would refuse you \(192\.0\.2\.7\): .*hosts\.deny:1\n$/,
    );
    writeFileSync(daemon.denyFile, "");
    const { status, errors } = await runCommand(["reload", ...flags, "--protect"], shell);
    assert.deepEqual([status, errors], [0, ""]);
  });

for (const [what, environment] of [
  ["outside of ssh", {}],
  ["where sshd does not know its client", { SSH_CONNECTION: "UNKNOWN 65535 UNKNOWN 65535" }],
] as const)
  test(`${what}, --protect alone is an error, and a reload without it says nothing`, async (t) => {
    const { daemon, flags } = await startGuarded(t, "ALL: ALL\n");
    const refused = await runCommand(["reload", ...flags, "--protect"], { environment });
    assert.equal(refused.status, 64);
    assert.match(refused.errors, /finds no ssh session .*; write --protect ADDRESS/);
    assert.equal(codes(daemon, "reloaded"), 0);
    const { status, errors } = await runCommand(["reload", ...flags], { environment });
    assert.deepEqual([status, errors], [0, ""]);
  });

test("--protect and the warning find the client of an ssh session that comes through the daemon itself", async (t) => {
  const ports: number[] = [];
  const backend = await startBackend(t, (socket) => {
    ports.push(socket.remotePort ?? 0);
    socket.pipe(socket);
  });
  const { daemon, flags } = await startGuarded(t, "", backend.address);
  const session = connect({ port: daemon.port("sshd"), host: "127.0.0.1", localAddress: "127.0.0.5" });
  t.after(() => session.destroy());
  assert.equal(await ask(session, "one"), "one");
  const [port = 0] = ports;
  const { body } = await control(daemon, "GET", "/v1/sessions");
  const [listed] = body["sessions"] as OpenSession[];
  assert.deepEqual(listed?.backendFrom, { address: "127.0.0.1", port });
  writeFileSync(daemon.denyFile, "sshd: 127.0.0.5\n");
  const shell = (from: number) => ({ environment: { SSH_CONNECTION: `127.0.0.1 ${from} 127.0.0.1 22` } });
  const warned = await runCommand(["reload", ...flags], shell(port));
  assert.equal(warned.status, 0);
  assert.match(warned.errors, /^tcpwrapd: warning: sshd would refuse you \(127\.0\.0\.5\): /);
  assert.equal((await runCommand(["reload", ...flags, "--protect"], shell(port))).status, 78);
  const unknown = await runCommand(["reload", ...flags, "--protect"], shell(1));
  assert.equal(unknown.status, 64, "somebody whom no session belongs to");
  assert.match(unknown.errors, /from this machine \(127\.0\.0\.1\), and no session on .*control\.sock/);
});

test("run --protect starts nothing with tables that would refuse the operator", async (t) => {
  const options = { services: { sshd: "127.0.0.1:1" }, deny: "sshd: 192.0.2.0/24\n" };
  await assert.rejects(
    RunningDaemon.start(t, { ...options, args: ["--protect", "192.0.2.7"] }),
    /error: sshd would refuse you \(192\.0\.2\.7\): .*hosts\.deny:1\ntcpwrapd: nothing was done/,
  );
  await RunningDaemon.start(t, { ...options, args: ["--protect", "192.0.3.7"] });
});
