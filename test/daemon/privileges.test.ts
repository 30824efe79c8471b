import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { dropPrivileges, PrivilegeError } from "../../src/platform/privileges.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { startBackend, talk } from "../support/peers.ts";

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
  assert.match(JSON.stringify(daemon.records.find(({ event }) => event === "tables")), /permission denied/);
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
