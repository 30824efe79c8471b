import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { dropPrivileges, PrivilegeError } from "../../src/platform/privileges.ts";
import { command } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";
import { freePort } from "../support/program.ts";

const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : "only root can become somebody else; run this test as root";

/** A service that goes to a program, beside one that goes to a backend. */
const yaml = (more: string) => `names: {reverse: never}\nprocess: {${more}}\n`;

function statusOf(pid: number, field: string): string {
  return new RegExp(`^${field}:\\s*(.*)$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
}

test(
  "workers become process.user for good: ids, groups, capabilities, no new privileges, no core",
  { skip },
  async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: { sshd: backend.address },
      yaml: yaml("user: nobody, group: nogroup"),
      allow: "ALL: 127.0.0.1\n",
      deny: "ALL: ALL\n",
    });
    // The tables are in a folder that only root may enter, until now.
    const [worker = 0] = daemon.workers();
    assert.equal(statusOf(worker, "Uid"), "65534\t65534\t65534\t65534");
    assert.equal(statusOf(worker, "Gid"), "65534\t65534\t65534\t65534");
    assert.equal(statusOf(worker, "Groups").trim(), "65534");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"])
      assert.match(statusOf(worker, set), /^0+$/, set);
    assert.equal(statusOf(worker, "NoNewPrivs"), "1");
    assert.match(readFileSync(`/proc/${worker}/limits`, "utf8"), /^Max core file size +0 +0 /m);
    assert.equal(
      statusOf(daemon.process.pid ?? 0, "Uid").split("\t")[0],
      "0",
      "the supervisor keeps what it needs",
    );
    assert.deepEqual(
      daemon.records.filter(({ code }) => code === "runs-as-root"),
      [],
    );
  },
);

test("tables that the workers may not read refuse everybody, and say why", { skip }, async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: yaml("user: nobody"),
    allow: "ALL: 127.0.0.1\n",
  });
  // The folder of a test belongs to root alone, so its tables cannot even be looked at.
  assert.equal((await talk(daemon.port("sshd"), { isHalfClosed: false })).end, "ECONNRESET");
  assert.match(JSON.stringify(daemon.records.find(({ event }) => event === "tables")), /Permission denied/);
  chmodSync(daemon.folder, 0o755);
  const { text } = await talk(daemon.port("sshd"), { say: "readable now" });
  assert.equal(text, "readable now");
});

test(
  "programs of rules are started by the supervisor, with the client's socket and none of its bytes read",
  { skip },
  async (t) => {
    const daemon = await RunningDaemon.start(t, {
      services: { echo: "127.0.0.1:1", who: "127.0.0.1:1", nobody: "127.0.0.1:1", gone: "127.0.0.1:1" },
      yaml: yaml("user: nobody"),
      folderMode: 0o755,
      allow: [
        "echo: ALL : twist /bin/cat",
        "who: ALL : twist /usr/bin/id -u",
        "nobody: ALL : user nobody : twist /usr/bin/id -u",
        "gone: ALL : twist /nonexistent/program",
        "",
      ].join("\n"),
    });
    const say = "sent before anybody looked\n";
    assert.deepEqual(await talk(daemon.port("echo"), { say }), { text: say, end: "end" });
    assert.equal((await talk(daemon.port("who"), { isHalfClosed: false })).text, "0\n");
    assert.equal((await talk(daemon.port("nobody"), { isHalfClosed: false })).text, "65534\n");
    assert.equal((await talk(daemon.port("gone"), { isHalfClosed: false })).text, "");
    const ends = () => daemon.records.filter(({ event }) => event === "end");
    await daemon.find(() => ends().length === 4);
    assert.deepEqual(
      ends()
        .slice(0, 3)
        .map(({ cause, detail }) => [cause, detail]),
      Array.from({ length: 3 }, () => ["handed_over", "exit status 0"]),
    );
    assert.equal(await daemon.end("SIGTERM"), 0);
  },
);

test(
  "J5: with onRestart keep, a session that was handed over does not hold up the end of the daemon, and goes on",
  { skip },
  async (t) => {
    const services = 'services: {cat: {listen: ["127.0.0.1:0"], exec: [/bin/cat]}}\n';
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: `${yaml("user: nobody, onRestart: keep")}${services}`,
      folderMode: 0o755,
    });
    const session = await open(t, daemon.port("cat"));
    assert.equal(await ask(session, "one"), "one");
    const stopping = daemon.end("SIGTERM");
    assert.equal(await Promise.race([stopping, pause(10_000, "still there", { ref: false })]), 0);
    assert.equal(await ask(session, "two"), "two");
  },
);

test("a program that a reload has brought is started as those from before are", { skip }, async (t) => {
  const yamlWith = (word: string) =>
    `${yaml("user: nobody")}services: {echo: {listen: ["127.0.0.1:0"], exec: [/bin/echo, ${word}]}}\n`;
  const daemon = await RunningDaemon.start(t, { services: {}, yaml: yamlWith("old"), folderMode: 0o755 });
  const said = async () => (await talk(daemon.port("echo"), { isHalfClosed: false })).text;
  assert.equal(await said(), "old\n");
  writeFileSync(daemon.configFile, yamlWith("new"));
  daemon.process.kill("SIGHUP");
  await daemon.find(({ code }) => code === "reloaded");
  assert.equal(await said(), "new\n");
});

test(
  "in one process, the daemon itself becomes process.user once its sockets are bound",
  { skip },
  async (t) => {
    const backend = await startBackend(t);
    const daemon = await RunningDaemon.start(t, {
      services: { sshd: backend.address },
      yaml: yaml("workers: 0, user: nobody"),
      folderMode: 0o755,
      allow: "ALL: ALL\n",
    });
    assert.equal(statusOf(daemon.process.pid ?? 0, "Uid"), "65534\t65534\t65534\t65534");
    assert.match(statusOf(daemon.process.pid ?? 0, "CapEff"), /^0+$/);
    assert.equal((await talk(daemon.port("sshd"), { say: "served" })).text, "served");
    assert.equal(await daemon.end("SIGTERM"), 0);
  },
);

/** Whether a port needs a right of its own here; some containers let everybody have every port. */
const firstFreeForAll = Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"));
const skipLow = isRoot && firstFreeForAll < 1024 ? "this machine lets everybody have the low ports" : skip;

/** So many ports below 1024 that nobody listens on now. */
async function lowPorts(count: number): Promise<number[]> {
  const found: number[] = [];
  for (let port = 1023; found.length < count && port > 0; port -= 1) {
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (isFree) found.push(port);
    await new Promise((resolve) => server.close(resolve));
  }
  return found;
}

test(
  "J11: with privileges given up by the workers, a reload opens a new port below 1024, and touches no listener",
  { skip: skipLow },
  async (t) => {
    const backend = await startBackend(t);
    const [before = 0, added = 0] = await lowPorts(2);
    const listening = (...ports: number[]): string =>
      `${yaml("user: nobody")}services: {sshd: {listen: [${ports.map((port) => `"127.0.0.1:${port}"`).join(", ")}], backend: "${backend.address}"}}\n`;
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: listening(before),
      folderMode: 0o755,
      allow: "ALL: ALL\n",
    });
    const session = await open(t, before);
    assert.equal(await ask(session, "one"), "one");
    const [worker = 0] = daemon.workers();
    writeFileSync(daemon.configFile, listening(before, added));
    const reloaded = await command(daemon, "reload", "--json");
    assert.equal(reloaded.status, 0, reloaded.errors);
    const { opened, closed } = JSON.parse(reloaded.output) as { opened: string[]; closed: string[] };
    assert.deepEqual([opened, closed], [[`sshd on 127.0.0.1:${added}`], []]);
    assert.equal((await talk(added, { say: "new" })).text, "new");
    assert.equal((await talk(before, { say: "old" })).text, "old");
    assert.equal(await ask(session, "two"), "two");
    assert.equal(daemon.workers()[0], worker);
    assert.equal(statusOf(worker, "Uid"), "65534\t65534\t65534\t65534", "who opened it is the supervisor");
    session.end();
    assert.equal(await daemon.end("SIGTERM"), 0);
  },
);

for (const way of ["the command", "SIGHUP"]) {
  test(
    `J11: with privileges given up by the only process, a reload that needs a new port below 1024, by ${way}, is refused and changes nothing`,
    { skip: skipLow },
    async (t) => {
      const backend = await startBackend(t);
      const [before = 0, added = 0] = await lowPorts(2);
      const high = await freePort();
      const listening = (...ports: number[]): string =>
        `${yaml("workers: 0, user: nobody")}services: {sshd: {listen: [${ports.map((port) => `"127.0.0.1:${port}"`).join(", ")}], backend: "${backend.address}"}}\n`;
      const daemon = await RunningDaemon.start(t, {
        services: {},
        yaml: listening(before),
        folderMode: 0o755,
        allow: "ALL: 127.0.0.1\n",
      });
      const session = await open(t, before);
      assert.equal(await ask(session, "one"), "one");
      // Whatever else it says does not come into force either: another port, and who is refused.
      writeFileSync(daemon.configFile, `${listening(before, high, added)}access: {noMatch: refuse}\n`);
      const because = new RegExp(
        `cannot listen on 127\\.0\\.0\\.1:${added}: permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE`,
      );
      if (way === "the command") {
        const { status, errors } = await command(daemon, "reload");
        assert.equal(status, 78);
        assert.match(errors, because);
      } else daemon.process.kill("SIGHUP");
      const refused = await daemon.find(({ code }) => code === "reload-refused");
      assert.equal(refused.level, "error");
      assert.match(String(refused["message"]), /everything stays as it was/);
      assert.match(String(refused["message"]), because);
      assert.equal((await talk(added)).end, "ECONNREFUSED");
      assert.equal((await talk(high)).end, "ECONNREFUSED");
      assert.equal(
        (await talk(before, { say: "noMatch: allow", from: "127.0.0.66" })).text,
        "noMatch: allow",
      );
      assert.equal(await ask(session, "two"), "two");

      // The low port that it has needs no right any more: another change of the configuration leaves it open.
      writeFileSync(daemon.configFile, listening(before, high));
      assert.equal((await command(daemon, "reload")).status, 0);
      assert.equal((await talk(high, { say: "new" })).text, "new");
      assert.equal((await talk(before, { say: "old" })).text, "old");
      session.end();
      assert.equal(await daemon.end("SIGTERM"), 0);
    },
  );
}

test("root without process.user is warned, with what to do about it", { skip }, async (t) => {
  const daemon = await RunningDaemon.start(t, { services: { sshd: "127.0.0.1:1" } });
  const warning = await daemon.find(({ code }) => code === "runs-as-root");
  assert.equal(warning.level, "warn");
  assert.match(String(warning["message"]), /useradd -r tcpwrapd.*process: \{user: tcpwrapd\}/);
});

test("J8: a user that nobody is ends the start with 71 and one clear line", async (t) => {
  await assert.rejects(
    RunningDaemon.start(t, { services: { sshd: "127.0.0.1:1" }, yaml: yaml("user: no-such-user") }),
    /tcpwrapd: unknown user: "no-such-user"; see process\.user/,
  );
});

test("privileges that can be had back are no privileges given up", { skip }, () => {
  // The saved user id stays root where only the effective one changes: a drop that forgets it has to be noticed.
  const script = `
    import { dropPrivileges } from ${JSON.stringify(new URL("../../dist/platform/privileges.js", import.meta.url).href)};
    process.setuid = (uid) => process.seteuid(uid);
    try { dropPrivileges({ uid: 65534, gid: 65534, groups: [], needsRoot: true }); console.log("taken"); }
    catch (error) { console.log(error.message); }`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.equal(stdout, "root was not given up: the user is another one\n");
});

test(
  "a user that cannot be become is an error, not a warning",
  { skip: isRoot && "only where we are not root" },
  () => {
    assert.throws(() => dropPrivileges({ uid: 0, gid: 0, groups: [], needsRoot: true }), PrivilegeError);
  },
);
