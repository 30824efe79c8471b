/** The daemon under a real systemd, installed from its package: start, reload, restart, watchdog, sockets, boot order. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test, type TestContext } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { buildPackage, installPackages, standInForNode, top } from "../support/debian.ts";
import { readLoadSummary } from "../support/load.ts";
import { Machine } from "../support/machine.ts";

const unit = "tcpwrapd.service";
const backendPort = 2222;

/** What a crash is tried under; a machine that does not keep up offers less, which the test prints. */
const perSecond = Number(process.env["TCPWRAPD_RATE"] ?? "500");

let folder = "";
let machine: Machine;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "tcpwrapd-systemd-"));
  buildPackage(folder);
  standInForNode(folder);
  machine = await Machine.boot({ binds: [`${folder}:/opt/packages`, `${join(top, "test/pack")}:/opt/pack`] });
  installPackages(machine);
  machine.must("systemd-run", "--unit=backend", "node", "/opt/pack/echo.mjs", String(backendPort));
});
after(async () => {
  await machine.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Every test begins with nothing started, no drop-in, and tables that let this machine in. */
beforeEach(() => {
  machine.run("systemctl", "stop", "tcpwrapd.socket", unit, "ssh.service");
  machine.run("systemctl", "kill", "--kill-who=all", "--signal=KILL", unit);
  machine.must("sh", "-c", "rm -rf /etc/systemd/system/tcpwrapd.* /etc/systemd/system/ssh.service.d");
  machine.must("systemctl", "daemon-reload");
  machine.run("systemctl", "reset-failed");
  configure('services: {sshd: {listen: ["127.0.0.1:22"], backend: "127.0.0.1:2222"}}');
  write("/etc/hosts.allow", "sshd: 127.0.0.1\n");
  write("/etc/hosts.deny", "ALL: ALL\n");
  machine.turnPage();
});

function write(path: string, text: string): void {
  machine.must("mkdir", "-p", path.slice(0, path.lastIndexOf("/")));
  writeFileSync(join(machine.root, path), text);
}

function configure(yaml: string): void {
  write("/etc/tcpwrapd/tcpwrapd.yaml", `names: {reverse: needed}\n${yaml}\n`);
}

function dropIn(text: string, of: string = unit): void {
  write(`/etc/systemd/system/${of}.d/test.conf`, text);
  machine.must("systemctl", "daemon-reload");
}

/** What a client of the machine gets back that says hello; the code of the error where it gets none. */
function hello(port: number, from = "127.0.0.1"): string {
  return machine.must("node", "/opt/pack/hello.mjs", String(port), from).trim();
}

/** Clients that come and stay; `end` gives the line that sums them up, and `offered` is then the rate that they really came at. */
class Load {
  readonly #process: ReturnType<Machine["start"]>;
  #said = "";
  offered = 0;

  constructor(t: TestContext, port: number, sessions: number, perSecond: number) {
    this.#process = machine.start(
      "node",
      "/opt/pack/load.mjs",
      String(port),
      String(sessions),
      String(perSecond),
    );
    this.#process.stdout?.on("data", (chunk: Buffer) => (this.#said += chunk.toString()));
    this.#process.stderr?.on("data", (chunk: Buffer) => (this.#said += chunk.toString()));
    t.after(() => this.#process.kill("SIGKILL"));
  }

  async end(): Promise<string> {
    this.#process.stdin?.end();
    await once(this.#process, "close");
    const { line, perSecond } = readLoadSummary(this.#said);
    this.offered = perSecond;
    return line;
  }
}

/** So many sessions are open, as the status line says. */
async function sessionsOpen(count: number): Promise<void> {
  await machine.until(
    `${count} sessions`,
    () => machine.property(unit, "StatusText").startsWith(`${count} session`),
    unit,
  );
}

test("J9: systemd finds nothing to say about the units, and the relay's exposure is at most 2.0", () => {
  const verified = machine.run("systemd-analyze", "verify", unit, "tcpwrapd.socket", "tcpwrapd@name.service");
  assert.deepEqual(verified, { status: 0, stdout: "", stderr: "" });
  const judged = machine.run(
    "systemd-analyze",
    "security",
    "--offline=yes",
    "--threshold=20",
    "--no-pager",
    `/usr/lib/systemd/system/${unit}`,
  );
  assert.equal(judged.status, 0, judged.stdout);
  console.log(judged.stdout.trim().split("\n").at(-1));
});

test("J9: the switch that the unit leaves off kills Node", () => {
  dropIn("[Service]\nMemoryDenyWriteExecute=yes\nRestart=no\n");
  assert.notEqual(machine.run("systemctl", "start", unit).status, 0);
  assert.equal(machine.property(unit, "Result"), "signal");
});

test("the drop-in for hand-over is taken whole", () => {
  machine.must(
    "install",
    "-D",
    "-m",
    "644",
    "/usr/share/doc/tcpwrapd/examples/hand-over.conf",
    `/etc/systemd/system/${unit}.d/hand-over.conf`,
  );
  machine.must("systemctl", "daemon-reload");
  assert.deepEqual(machine.run("systemd-analyze", "verify", unit), { status: 0, stdout: "", stderr: "" });
  configure('services: {sshd: {listen: ["127.0.0.1:22"], exec: [/bin/sh, -c, "read line; id -un"]}}');
  machine.must("systemctl", "start", unit);
  assert.equal(hello(22), "root");
});

test("J7: it is started when it serves, on a low port as a user with that one capability", () => {
  machine.must("systemctl", "start", unit);
  assert.equal(hello(22), "hello");
  assert.equal(hello(22, "127.0.0.66"), "ECONNRESET");
  assert.equal(machine.property(unit, "ActiveState"), "active");
  assert.match(machine.property(unit, "StatusText"), /^\d+ sessions?; tables generation \d+, /);
  const processes = machine.must(
    "sh",
    "-c",
    `cat /sys/fs/cgroup*/system.slice/${unit}/cgroup.procs /sys/fs/cgroup/*/system.slice/${unit}/cgroup.procs 2>/dev/null | sort -u`,
  );
  const pids = processes.trim().split("\n");
  assert.ok(pids.length >= 2, "a supervisor and a worker");
  for (const pid of pids) {
    const status = machine.must("cat", `/proc/${pid}/status`);
    assert.equal(/^NoNewPrivs:\s*(\d)/m.exec(status)?.[1], "1");
    assert.equal(
      BigInt(`0x${/^CapBnd:\s*(\S+)/m.exec(status)?.[1] ?? ""}`),
      1n << 10n,
      "CAP_NET_BIND_SERVICE only",
    );
    assert.match(status, new RegExp(`^Uid:\\s+${machine.must("id", "-u", "tcpwrapd").trim()}\\b`, "m"));
  }
});

test("the journal has every record at its level", async () => {
  machine.must("systemctl", "start", unit);
  hello(22, "127.0.0.66");
  const entries = (): { PRIORITY: string; MESSAGE: string }[] =>
    machine
      .journal(unit, "json")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { PRIORITY: string; MESSAGE: string });
  const isRefusal = ({ MESSAGE }: { MESSAGE: string }): boolean => MESSAGE.includes("refused connect from");
  await machine.until("a refusal in the journal", () => entries().some(isRefusal), unit);
  assert.equal(entries().find(isRefusal)?.PRIORITY, "4");
});

test("a reload opens what is new, closes what is gone, and keeps the sessions", async (t) => {
  configure('services: {sshd: {listen: ["127.0.0.1:22", "127.0.0.1:23"], backend: "127.0.0.1:2222"}}');
  machine.must("systemctl", "start", unit);
  const load = new Load(t, 23, 5, 0);
  await sessionsOpen(5);
  configure('services: {sshd: {listen: ["127.0.0.1:22", "127.0.0.1:24"], backend: "127.0.0.1:2222"}}');
  machine.must("systemctl", "reload", unit);
  await machine.until("port 24", () => hello(24) === "hello", unit);
  assert.equal(hello(23), "ECONNREFUSED");
  assert.equal(hello(22), "hello");
  assert.equal(await load.end(), "connections 0, sessions cut 0, connections refused 0");
});

test("G5: a configuration that cannot be used is refused at reload, with its place, and the old one stays", async () => {
  machine.must("systemctl", "start", unit);
  configure("servces: {}");
  assert.notEqual(machine.run("systemctl", "reload", unit).status, 0);
  const refusal = /tcpwrapd[.]yaml:2:1: error unknown-key: .*servces.*services/;
  await machine.until("a refusal", () => refusal.test(machine.journal(unit)), unit);
  assert.equal(machine.property(unit, "ActiveState"), "active");
  await machine.until(
    "a refusal in the status",
    () => refusal.test(machine.property(unit, "StatusText")),
    unit,
  );
  assert.equal(hello(22), "hello");
  configure('services: {sshd: {listen: ["127.0.0.1:22"], backend: "127.0.0.1:2222"}}');
  machine.must("systemctl", "reload", unit);
  await machine.until("no refusal", () => !machine.property(unit, "StatusText").includes("refused"), unit);
});

test("G11: a storm of reloads ends with the daemon ready and every session kept", async (t) => {
  machine.must("systemctl", "start", unit);
  const load = new Load(t, 22, 5, 50);
  await machine.until("sessions", () => !machine.property(unit, "StatusText").startsWith("0 "), unit);
  machine.must(
    "sh",
    "-c",
    `for i in $(seq 200); do systemctl kill --kill-who=main --signal=HUP ${unit}; done`,
  );
  machine.must("systemctl", "reload", unit);
  await machine.until("active", () => machine.property(unit, "ActiveState") === "active", unit);
  assert.match(await load.end(), /sessions cut 0, connections refused 0$/);
  assert.equal(machine.property(unit, "NRestarts"), "0");
});

test("a restart under load cuts no session and refuses no connection, through the socket unit", async (t) => {
  dropIn("[Socket]\nListenStream=\nListenStream=127.0.0.1:22\n", "tcpwrapd.socket");
  configure('services: {sshd: {listen: ["systemd:sshd"], backend: "127.0.0.1:2222"}}');
  machine.must("systemctl", "start", "tcpwrapd.socket");
  const load = new Load(t, 22, 20, 200);
  await machine.until(
    "20 sessions",
    () => Number.parseInt(machine.property(unit, "StatusText"), 10) >= 20,
    unit,
  );
  for (let round = 0; round < 3; round++) {
    const before = machine.property(unit, "MainPID");
    machine.must("systemctl", "restart", unit);
    assert.notEqual(machine.property(unit, "MainPID"), before);
  }
  const summary = await load.end();
  console.log(`restart three times under load: ${summary}`);
  assert.match(summary, /^connections \d{3,}, sessions cut 0, connections refused 0$/);
  // The old workers end with their sessions.
  await machine.until("one daemon: a supervisor, a worker and a spare one", () => processes() <= 3, unit);
});

/** Processes of ours, of whatever daemon they were. */
function processes(): number {
  return machine
    .run("pgrep", "-u", "tcpwrapd")
    .stdout.split("\n")
    .filter((line) => line !== "").length;
}

test("a restart under load without the socket unit cuts no session and refuses no connection: systemd keeps the sockets", async (t) => {
  machine.must("systemctl", "start", unit);
  const load = new Load(t, 22, 20, 200);
  await machine.until(
    "20 sessions",
    () => Number.parseInt(machine.property(unit, "StatusText"), 10) >= 20,
    unit,
  );
  for (let round = 0; round < 3; round++) {
    const before = machine.property(unit, "MainPID");
    machine.must("systemctl", "restart", unit);
    assert.notEqual(machine.property(unit, "MainPID"), before);
  }
  assert.equal(machine.property(unit, "NFileDescriptorStore"), "1");
  const summary = await load.end();
  console.log(`restart three times under load, without the socket unit: ${summary}`);
  assert.match(summary, /^connections \d{3,}, sessions cut 0, connections refused 0$/);
  machine.must("systemctl", "stop", unit);
  assert.equal(hello(22), "ECONNREFUSED", "a stop closes them");
});

test("what a reload or another configuration does not listen on, systemd does not keep", async () => {
  configure(
    'services: {sshd: {listen: ["127.0.0.1:22", "127.0.0.1:23", "127.0.0.1:24"], backend: "127.0.0.1:2222"}}',
  );
  machine.must("systemctl", "start", unit);
  await machine.until("three", () => machine.property(unit, "NFileDescriptorStore") === "3", unit);
  configure('services: {sshd: {listen: ["127.0.0.1:22", "127.0.0.1:24"], backend: "127.0.0.1:2222"}}');
  machine.must("systemctl", "reload", unit);
  await machine.until("two", () => machine.property(unit, "NFileDescriptorStore") === "2", unit);
  assert.equal(hello(23), "ECONNREFUSED");
  // The same port by another address, which the kept socket would be in the way of.
  configure('services: {sshd: {listen: ["127.0.0.1:22", "0.0.0.0:24"], backend: "127.0.0.1:2222"}}');
  machine.must("systemctl", "restart", unit);
  assert.equal(hello(24), "hello");
  assert.equal(hello(22), "hello");
  assert.equal(machine.property(unit, "NFileDescriptorStore"), "2");
});

test("an open ssh session goes on through a restart", async (t) => {
  write("/etc/ssh/sshd_config", "Port 2200\nListenAddress 127.0.0.1\nUsePAM no\nPermitRootLogin yes\n");
  machine.must(
    "sh",
    "-c",
    "mkdir -p /run/sshd /root/.ssh; rm -f /root/.ssh/key*; ssh-keygen -q -A; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/key; cp /root/.ssh/key.pub /root/.ssh/authorized_keys; chmod 700 /root/.ssh",
  );
  machine.must("systemd-run", "--unit=sshd-behind", "/usr/sbin/sshd", "-D", "-e");
  t.after(() => machine.run("systemctl", "stop", "sshd-behind"));
  configure('services: {sshd: {listen: ["127.0.0.1:22"], backend: "127.0.0.1:2200"}}');
  machine.must("systemctl", "start", unit);
  const ssh = [
    "-F",
    "none",
    "-i",
    "/root/.ssh/key",
    "-o",
    "BatchMode=yes",
    "-o",
    "StrictHostKeyChecking=no",
    "root@127.0.0.1",
  ];
  await machine.until("sshd", () => machine.run("ssh", ...ssh, "true").status === 0, unit);
  const session = machine.start("ssh", ...ssh, "cat");
  t.after(() => session.kill("SIGKILL"));
  const answer = async (line: string): Promise<string> => {
    const heard = once(session.stdout ?? session, "data");
    session.stdin?.write(`${line}\n`);
    return String((await heard)[0]);
  };
  assert.equal(await answer("before"), "before\n");
  machine.must("systemctl", "restart", unit);
  assert.equal(await answer("after"), "after\n");
  machine.must("systemctl", "stop", unit);
  assert.equal(await answer("and after the stop"), "and after the stop\n");
  const ended = once(session, "exit");
  machine.must("systemctl", "kill", "--signal=KILL", unit);
  await ended;
});

test("J7: a worker whose event loop hangs is found by the watchdog, killed and replaced", async () => {
  dropIn("[Service]\nWatchdogSec=3s\n");
  machine.must("systemctl", "start", unit);
  const main = machine.property(unit, "MainPID");
  machine.must("pkill", "-STOP", "-P", main);
  await machine.until("a killed worker", () => /worker-hung/.test(machine.journal(unit)), unit);
  await machine.until("service", () => hello(22) === "hello", unit);
  assert.equal(machine.property(unit, "MainPID"), main, "the supervisor itself was well");
});

test("J7: a supervisor whose event loop hangs is killed by systemd, and the daemon is started again", async () => {
  dropIn("[Service]\nWatchdogSec=3s\n");
  machine.must("systemctl", "start", unit);
  const main = machine.property(unit, "MainPID");
  machine.must("systemctl", "kill", "--kill-who=main", "--signal=STOP", unit);
  await machine.until(
    "another main process",
    () => !["0", main].includes(machine.property(unit, "MainPID")),
    unit,
  );
  assert.match(machine.journal(unit), /Watchdog timeout/);
  await machine.until("service", () => hello(22) === "hello", unit);
});

test("J3: a worker that is killed is replaced, and the daemon is not restarted", async () => {
  machine.must("systemctl", "start", unit);
  const main = machine.property(unit, "MainPID");
  machine.must("pkill", "-KILL", "-P", main);
  await machine.until("service", () => hello(22) === "hello", unit);
  assert.equal(machine.property(unit, "MainPID"), main);
});

for (const way of ["through the socket unit", "without the socket unit"]) {
  test(`J4: a supervisor that is killed under ${perSecond} connections a second cuts no session and refuses no connection, ${way}`, async (t) => {
    if (way === "through the socket unit") {
      dropIn("[Socket]\nListenStream=\nListenStream=127.0.0.1:22\n", "tcpwrapd.socket");
      configure('services: {sshd: {listen: ["systemd:sshd"], backend: "127.0.0.1:2222"}}');
      machine.must("systemctl", "start", "tcpwrapd.socket");
    } else machine.must("systemctl", "start", unit);
    const load = new Load(t, 22, 10, perSecond);
    await machine.until(
      "10 sessions",
      () => Number.parseInt(machine.property(unit, "StatusText"), 10) >= 10,
      unit,
    );
    const main = machine.property(unit, "MainPID");
    machine.must("systemctl", "kill", "--kill-who=main", "--signal=KILL", unit);
    await machine.until(
      "another main process",
      () =>
        !["0", main].includes(machine.property(unit, "MainPID")) &&
        machine.property(unit, "ActiveState") === "active",
      unit,
    );
    const summary = await load.end();
    t.diagnostic(`${load.offered} connections a second offered: ${summary}`);
    assert.match(summary, /^connections \d{3,}, sessions cut 0, connections refused 0$/);
  });
}

test("J4: what a UDP client sends while no daemon is there waits for the next one: systemd keeps that socket too", async () => {
  dropIn("[Service]\nRestartSec=4\n");
  machine.run("systemctl", "stop", "datagrams");
  const echo = `const s = require("dgram").createSocket("udp4"); s.on("message", (m, from) => s.send(m, from.port, from.address)); s.bind(6969)`;
  machine.must("systemd-run", "--unit=datagrams", "--collect", "node", "-e", echo);
  configure(`services:
  sshd: {listen: ["127.0.0.1:22"], backend: "127.0.0.1:2222"}
  tftp: {listen: ["udp:127.0.0.1:69"], backend: "udp:127.0.0.1:6969", idleTimeout: 1s}`);
  write("/etc/hosts.allow", "ALL: 127.0.0.1\n");
  const say = `const s = require("dgram").createSocket("udp4"), end = (word) => { console.log(word); process.exit(); };
    s.on("message", (m) => end(m.toString())).on("error", ({ code }) => end(code));
    s.connect(69, "127.0.0.1", () => s.send("hello")); setTimeout(end, 60_000, "nothing")`;
  machine.must("systemctl", "start", unit);
  assert.equal(machine.must("node", "-e", say).trim(), "hello");
  assert.equal(machine.property(unit, "NFileDescriptorStore"), "2");
  machine.must("systemctl", "kill", "--kill-who=all", "--signal=KILL", unit);
  await machine.until("nobody there", () => processes() === 0, unit);
  assert.equal(machine.must("node", "-e", say).trim(), "hello");
  const opened = machine.journal(unit).match(/tftp\[\d+\]: connect from /g) ?? [];
  assert.equal(opened.length, 2);
  machine.must("systemctl", "stop", "datagrams");
});

test("when the first ten clients all have the gateway's address, the daemon says so, once", async () => {
  machine.must(
    "sh",
    "-c",
    `ip netns add gate; ip link add outside type veth peer name inside netns gate
     ip addr add 192.0.2.2/24 dev outside; ip link set outside up
     ip -n gate addr add 192.0.2.1/24 dev inside; ip -n gate link set inside up
     ip route add default via 192.0.2.1`,
  );
  configure('services: {sshd: {listen: ["192.0.2.2:22"], backend: "127.0.0.1:2222"}}');
  write("/etc/hosts.allow", "sshd: ALL\n");
  machine.must("systemctl", "start", unit);
  const visits =
    "for i in $(seq 12); do echo hello | ip netns exec gate socat -t 5 - TCP4:192.0.2.2:22; done";
  assert.equal(machine.must("sh", "-c", visits), "hello\n".repeat(12));
  await machine.until("a warning", () => machine.journal(unit).includes("one-gateway"), unit);
  const [, ...said] = machine.journal(unit).split("one-gateway");
  assert.equal(said.length, 1);
  assert.match(said[0] ?? "", /192[.]0[.]2[.]1/);
});

test("J6: the socket unit holds the port, and its first client is served", () => {
  dropIn(
    "[Socket]\nListenStream=\nListenStream=127.0.0.1:22\nListenStream=127.0.0.1:23\n",
    "tcpwrapd.socket",
  );
  dropIn("[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n");
  configure('services: {sshd: {listen: ["systemd:sshd"], backend: "127.0.0.1:2222"}}');
  machine.must("systemctl", "start", "tcpwrapd.socket");
  assert.equal(machine.property(unit, "ActiveState"), "inactive");
  assert.equal(hello(22), "hello");
  assert.equal(hello(23), "hello");
  assert.equal(machine.property(unit, "ActiveState"), "active");
});

test("J6: a socket that the configuration does not name is an error that names it", () => {
  dropIn("[Socket]\nListenStream=\nListenStream=127.0.0.1:22\n", "tcpwrapd.socket");
  dropIn("[Service]\nRestart=no\n");
  configure('services: {sshd: {listen: ["127.0.0.1:23"], backend: "127.0.0.1:2222"}}');
  machine.must("systemctl", "start", "tcpwrapd.socket");
  assert.notEqual(machine.run("systemctl", "start", unit).status, 0);
  assert.match(machine.journal(unit), /"sshd"/);
  assert.equal(machine.property(unit, "ExecMainStatus"), "71");
});

test("J8: a configuration that cannot be used is status 78, and systemd does not try it again", () => {
  configure("servces: {}");
  assert.notEqual(machine.run("systemctl", "start", unit).status, 0);
  assert.equal(machine.property(unit, "ExecMainStatus"), "78");
  assert.equal(machine.property(unit, "NRestarts"), "0");
});

test("at boot the proxy is there before sshd is started", () => {
  dropIn("[Service]\nExecStartPre=\nExecStart=\nExecStart=/bin/sleep 1h\nType=exec\n", "ssh.service");
  write("/etc/systemd/system/both.target", `[Unit]\nWants=ssh.service ${unit}\n`);
  machine.must("systemctl", "daemon-reload");
  machine.must("systemctl", "start", "both.target");
  const readyAt = Number(machine.property(unit, "ActiveEnterTimestampMonotonic"));
  const sshAt = Number(machine.property("ssh.service", "ExecMainStartTimestampMonotonic"));
  assert.ok(readyAt > 0 && sshAt > 0);
  assert.ok(readyAt <= sshAt, `ready at ${readyAt}, sshd started at ${sshAt}`);
});

test("one daemon per instance reads the configuration of its name", () => {
  write(
    "/etc/tcpwrapd/other.yaml",
    'names: {reverse: needed}\nservices: {sshd: {listen: ["127.0.0.1:2022"], backend: "127.0.0.1:2222"}}\n',
  );
  machine.must("systemctl", "start", unit, "tcpwrapd@other.service");
  assert.equal(hello(2022), "hello");
  assert.equal(hello(22), "hello");
  const other = machine.must("tcpwrapd", "status", "--control-socket", "/run/tcpwrapd-other/control.sock");
  assert.match(other, /sshd on 127[.]0[.]0[.]1:2022/);
  assert.match(machine.must("tcpwrapd", "status"), /sshd on 127[.]0[.]0[.]1:22:/);
  machine.must("systemctl", "reload", "tcpwrapd@other.service");
  write("/etc/tcpwrapd/other.yaml", "servces: {}\n");
  assert.notEqual(machine.run("systemctl", "reload", "tcpwrapd@other.service").status, 0);
  machine.must("systemctl", "reload", unit);
  machine.must("systemctl", "stop", "tcpwrapd@other.service");
});

test("`tcpwrapd drain` lets nobody in, keeps the session for longer than TimeoutStopSec, and ends the unit for good after it", async (t) => {
  dropIn("[Service]\nTimeoutStopSec=3\n");
  machine.must("systemctl", "start", unit);
  const load = new Load(t, 22, 1, 0);
  await sessionsOpen(1);
  machine.must("tcpwrapd", "drain");
  await machine.until("a drain", () => machine.property(unit, "StatusText").startsWith("draining, 1 "), unit);
  assert.equal(hello(22), "ECONNREFUSED");
  await wait(8000);
  assert.equal(machine.property(unit, "ActiveState"), "deactivating");
  assert.match(machine.property(unit, "StatusText"), /^draining, 1 /);
  assert.equal(await load.end(), "connections 0, sessions cut 0, connections refused 0");
  await machine.until("the end", () => machine.property(unit, "ActiveState") === "inactive", unit);
  const ended = ["Result", "ExecMainStatus", "NRestarts"].map((name) => machine.property(unit, name));
  assert.deepEqual(ended, ["success", "0", "0"]);
  assert.equal(processes(), 0);
  machine.must("systemctl", "start", unit);
  assert.equal(hello(22), "hello");
});

test("`tcpwrapd drain` under systemd cuts the session after drainTimeout, which may be longer than TimeoutStopSec", async (t) => {
  dropIn("[Service]\nTimeoutStopSec=3\n");
  configure(
    'process: {drainTimeout: 8s}\nservices: {sshd: {listen: ["127.0.0.1:22"], backend: "127.0.0.1:2222"}}',
  );
  machine.must("systemctl", "start", unit);
  const load = new Load(t, 22, 1, 0);
  await sessionsOpen(1);
  machine.must("tcpwrapd", "drain");
  await machine.until("the end", () => machine.property(unit, "ActiveState") === "inactive", unit);
  const ended = ["Result", "ExecMainStatus", "NRestarts"].map((name) => machine.property(unit, name));
  assert.deepEqual(ended, ["success", "0", "0"]);
  assert.match(await load.end(), /sessions cut 1, connections refused 0/);
});

test("an upgrade of the package cuts no session", async (t) => {
  machine.must("systemctl", "start", unit);
  const before = machine.property(unit, "MainPID");
  const load = new Load(t, 22, 5, 0);
  await sessionsOpen(5);
  installPackages(machine);
  assert.notEqual(machine.property(unit, "MainPID"), before);
  assert.equal(hello(22), "hello");
  assert.equal(await load.end(), "connections 0, sessions cut 0, connections refused 0");
});
