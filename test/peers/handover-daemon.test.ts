/**
 * Programs of inetd's time behind the whole daemon, started by the worker itself, or by the supervisor for a worker that has given up
 * root: what they see of their client, and what the records say of them.
 */

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { connect } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { before, test, type TestContext } from "node:test";
import { command } from "../support/control.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { talk } from "../support/peers.ts";
import { needPrograms, run } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

/** Clients come from here, so that a program that saw us and not them would be found out. */
const clientAddress = "127.0.0.66";

before(() => {
  needPrograms("/usr/sbin/sshd", "/usr/sbin/vsftpd", "/usr/sbin/telnetd", "/usr/bin/telnet", "/usr/bin/curl");
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
});

const starters: [who: string, yaml: string][] = [
  ["the worker", "process: {workers: 0}\n"],
  ["the supervisor", "process: {workers: 1, user: nobody}\n"],
];

async function daemonWith(
  t: TestContext,
  yaml: string,
  exec: readonly string[],
  more = "",
): Promise<RunningDaemon> {
  return await RunningDaemon.start(t, {
    services: {},
    yaml: `names: {reverse: never}\n${yaml}services: {ftpd: {listen: ["127.0.0.1:0"], exec: ${JSON.stringify(exec)}${more}}}\n`,
    allow: `ftpd: ${clientAddress}\n`,
    deny: "ALL: ALL\n",
    folderMode: 0o755,
  });
}

for (const [who, yaml] of starters) {
  test(`C7: started by ${who}, a program has 0 and 1 in blocking mode, the log as 2, nothing else, and every byte`, async (t) => {
    const look =
      'cat; ls /proc/self/fd | tr "\\n" " "; for f in 0 1; do grep flags /proc/$$/fdinfo/$f; done; echo word >&2';
    const daemon = await daemonWith(t, yaml, ["/bin/bash", "-c", look]);
    const say = "0123456789".repeat(20_000);
    const { text, end } = await talk(daemon.port("ftpd"), { from: clientAddress, say });
    assert.equal(end, "end");
    assert.equal(text.slice(0, say.length), say);
    // 3 is the folder that ls reads.
    const [, first = "", second = ""] =
      /^0 1 2 3 flags:\t(0\d+)\nflags:\t(0\d+)\n$/.exec(text.slice(say.length)) ?? [];
    const nonblocking = 0o4000;
    for (const flags of [first, second])
      assert.equal(Number.parseInt(flags, 8) & nonblocking, 0, text.slice(-80));
    await daemon.find(({ message }) => typeof message === "string" && message.endsWith("word"));
    const ended = await daemon.find(({ event }) => event === "end");
    assert.deepEqual(
      [ended.cause, ended.detail, ended.upBytes, ended.downBytes, ended.client?.address],
      ["handed_over", "exit status 0", null, null, clientAddress],
    );
    assert.ok(Number(ended["durationMs"]) > 0);
  });

  test(`C7: started by ${who}, a program's signal is in the record`, async (t) => {
    const daemon = await daemonWith(t, yaml, ["/bin/sh", "-c", "read word; kill -$word $$; sleep 60"]);
    await talk(daemon.port("ftpd"), { from: clientAddress, say: "ABRT\n" });
    assert.equal((await daemon.find(({ event }) => event === "end")).detail, "ended by SIGABRT");
  });

  for (const [what, script, signal] of [
    ["", "echo here; sleep 60", "SIGTERM"],
    [" that ignores SIGTERM", 'trap "" TERM; echo here; sleep 60', "SIGKILL"],
  ] as const)
    test(`C7: started by ${who}, kick ends a program${what}, and its children, by ${signal}`, async (t) => {
      const daemon = await daemonWith(t, yaml, ["/bin/sh", "-c", script]);
      const { port, host } = { port: daemon.port("ftpd"), host: "127.0.0.1" };
      const client = connect({ port, host, localAddress: clientAddress });
      t.after(() => client.destroy());
      const [said] = (await once(client, "data")) as [Buffer];
      assert.equal(said.toString(), "here\n");
      const { id = "" } = await daemon.find(({ event }) => event === "accept");
      const closed = once(client, "close"); // only when the last process that has its socket has ended
      assert.equal((await command(daemon, "kick", id)).status, 0);
      const end = await daemon.find(({ event }) => event === "end");
      assert.deepEqual([end.id, end.cause, end.detail], [id, "kicked", `ended by ${signal}`]);
      await closed;
    });

  test(`C7: started by ${who}, 100 programs leave no zombie and no descriptor, and two records each`, async (t) => {
    const daemon = await daemonWith(t, yaml, ["/bin/echo", "hello"]);
    const port = daemon.port("ftpd");
    const ended = (): number => daemon.records.filter(({ event }) => event === "end").length;
    assert.equal((await talk(port, { from: clientAddress })).text, "hello\n");
    await daemon.find(() => ended() === 1);
    const before = daemon.servingDescriptors();
    for (let round = 0; round < 5; round += 1)
      await Promise.all(Array.from({ length: 20 }, () => talk(port, { from: clientAddress })));
    await daemon.find(() => ended() === 101);
    assert.equal(daemon.servingDescriptors(), before);
    const parents = new Set([daemon.process.pid, ...daemon.workers()].map(String));
    assert.deepEqual(zombiesOf(parents), []);
    const served = daemon.records.filter(
      ({ event, detail }) => event === "end" && detail === "exit status 0",
    );
    assert.equal(served.length, 101);
  });

  test(`C8: started by ${who}, no more programs than startsPerMinute allows; the rest is refused`, async (t) => {
    const daemon = await daemonWith(t, `${yaml}limits: {startsPerMinute: 1}\n`, ["/bin/echo", "hello"]);
    const answers: string[] = [];
    for (let client = 0; client < 110; client += 1)
      answers.push((await talk(daemon.port("ftpd"), { from: clientAddress, isHalfClosed: false })).text);
    const served = answers.filter((text) => text === "hello\n").length;
    assert.ok(served >= 100 && served <= 101, `${served} started`); // a burst of 100, and one a minute
    const refused = await daemon.find(({ cause }) => cause === "internal");
    assert.match(refused.detail ?? "", /more than 1 programs a minute/);
  });

  test(`sshd -i started by ${who}: a login works, and sshd sees and logs the true client`, async (t) => {
    const folder = scratchFolder(t);
    for (const key of ["host", "user"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, key)]);
    const config = [
      `HostKey ${folder}/host`,
      `AuthorizedKeysFile ${folder}/user.pub`,
      "PidFile none",
      "StrictModes no",
      "UsePAM no",
      "PasswordAuthentication no",
      "PermitRootLogin prohibit-password",
      "LogLevel VERBOSE",
    ];
    writeFileSync(join(folder, "sshd_config"), `${config.join("\n")}\n`);
    const exec = ["/usr/sbin/sshd", "-i", "-e", "-f", join(folder, "sshd_config")];
    const daemon = await daemonWith(t, yaml, exec);
    const options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"];
    const { status, out, err } = await run("/usr/bin/ssh", [
      "-F",
      "none",
      "-b",
      clientAddress,
      "-i",
      join(folder, "user"),
      "-p",
      String(daemon.port("ftpd")),
      ...options.flatMap((option) => ["-o", option]),
      `${userInfo().username}@127.0.0.1`,
      "echo $SSH_CONNECTION; exit 5",
    ]);
    assert.equal(status, 5, err);
    assert.match(out, /^127\.0\.0\.66 \d+ 127\.0\.0\.1 \d+\n$/);
    const said = await daemon.find(({ message }) => /Accepted publickey/.test(String(message)));
    assert.match(String(said["message"]), /from 127\.0\.0\.66 port \d+/);
    assert.equal((await daemon.find(({ event }) => event === "end")).cause, "handed_over");
  });

  for (const [how, options] of [
    ["passive", []],
    ["active", ["--ftp-port", clientAddress]],
  ] as const) {
    test(`vsftpd started by ${who}: login and an ${how} transfer work, and it logs the true client`, async (t) => {
      const folder = scratchFolder(t);
      const conf = vsftpdConfig(folder);
      const data = randomBytes(2 * 1024 * 1024);
      writeFileSync(join(folder, "root", "file"), data, { mode: 0o644 });
      const daemon = await daemonWith(t, yaml, ["/usr/sbin/vsftpd", conf]);
      const target = join(folder, "got");
      const { status, err } = await run("/usr/bin/curl", [
        "-sS",
        "-m",
        "20",
        "--interface",
        clientAddress,
        ...options,
        "-o",
        target,
        `ftp://127.0.0.1:${daemon.port("ftpd")}/file`,
      ]);
      assert.equal(status, 0, err);
      assert.equal(hash(readFileSync(target)), hash(data));
      await daemon.find(({ event }) => event === "end");
      assert.match(readFileSync(join(folder, "vsftpd.log"), "utf8"), /CONNECT: Client "127\.0\.0\.66"/);
    });
  }

  test(`telnetd started by ${who}: the real telnet client negotiates and gets a terminal`, async (t) => {
    const folder = scratchFolder(t);
    const program = join(folder, "login");
    // telnetd throws away what its terminal still holds when the program has ended.
    writeFileSync(
      program,
      '#!/bin/sh\nprintf "name: "; read name; test -t 0 && echo "hello $name"; sleep 1\n',
    );
    chmodSync(program, 0o755);
    chmodSync(folder, 0o755);
    const daemon = await daemonWith(t, yaml, ["/usr/sbin/telnetd", "-E", program]);
    const client = spawn("/usr/bin/telnet", ["-b", clientAddress, "127.0.0.1", String(daemon.port("ftpd"))], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    t.after(() => client.kill());
    let out = "";
    client.stdout.on("data", (chunk: Buffer) => {
      if (!out.includes("name: ") && `${out}${chunk.toString()}`.includes("name: "))
        client.stdin.write("bob\n");
      out += chunk.toString();
    });
    await new Promise((resolve) => client.once("close", resolve));
    const ended = await daemon.find(({ event }) => event === "end");
    assert.match(out, /hello bob/);
    assert.equal(ended.client?.address, clientAddress);
  });
}

test("C7: a client that has gone before its program starts is no trouble for the daemon", async (t) => {
  const daemon = await daemonWith(t, "", ["/bin/cat"]);
  for (let client = 0; client < 100; client += 1) {
    const socket = connect({ port: daemon.port("ftpd"), host: "127.0.0.1", localAddress: clientAddress });
    socket.on("error", () => undefined);
    await new Promise<void>((resolve) => socket.once("connect", resolve));
    socket.resetAndDestroy();
  }
  const over = (): number =>
    daemon.records.filter(({ event, reason }) => event === "end" || reason === "aborted").length;
  await daemon.find(() => over() === 100);
  const { text } = await talk(daemon.port("ftpd"), { from: clientAddress, say: "still there" });
  assert.equal(text, "still there");
});

function vsftpdConfig(folder: string): string {
  for (const made of ["root", "empty"]) {
    mkdirSync(join(folder, made));
    chmodSync(join(folder, made), 0o755);
  }
  chmodSync(folder, 0o755);
  const lines = [
    "listen=NO",
    "listen_ipv6=NO",
    "anonymous_enable=YES",
    "no_anon_password=YES",
    "local_enable=NO",
    `anon_root=${folder}/root`,
    `secure_chroot_dir=${folder}/empty`,
    "ftp_username=ftp",
    "nopriv_user=nobody",
    "seccomp_sandbox=NO",
    "tcp_wrappers=NO",
    `vsftpd_log_file=${folder}/vsftpd.log`,
    "xferlog_enable=YES",
  ];
  const conf = join(folder, "vsftpd.conf");
  writeFileSync(conf, `${lines.join("\n")}\n`);
  return conf;
}

/** Process ids of dead children that nobody has asked about. Source: proc(5), stat. */
function zombiesOf(parents: ReadonlySet<string>): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const [state, parent = ""] = readFileSync(`/proc/${pid}/stat`, "latin1")
        .replace(/^.*\) /s, "")
        .split(" ");
      return state === "Z" && parents.has(parent);
    } catch {
      return false; // gone meanwhile
    }
  });
}

function hash(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
