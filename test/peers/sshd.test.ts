/** A real OpenSSH client reaches a real sshd through the daemon, or is reset. */

import assert from "node:assert/strict";
import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { RunningDaemon } from "../support/daemon.ts";
import { answering, type Finished, freePort, needPrograms, run, startServer } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

needPrograms("/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/scp", "/usr/bin/ssh-keygen");

const user = userInfo().username;

interface Bed {
  readonly folder: string;
  readonly daemon: RunningDaemon;
  /** Options of ssh and scp that lead through the daemon, from one of this machine's addresses. */
  readonly through: (from?: string) => string[];
  /** What sshd logs. */
  readonly log: () => string;
}

async function bed(t: TestContext, tables: { allow: string; deny: string }): Promise<Bed> {
  const folder = scratchFolder(t);
  for (const key of ["host", "user"])
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, key)]);
  const port = await freePort();
  const config = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${folder}/host`,
    `AuthorizedKeysFile ${folder}/user.pub`,
    "PidFile none",
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "PermitRootLogin prohibit-password",
    "LogLevel VERBOSE",
    "Subsystem sftp internal-sftp",
  ];
  writeFileSync(join(folder, "sshd_config"), `${config.join("\n")}\n`);
  writeFileSync(join(folder, "known"), `test ${readFileSync(join(folder, "host.pub"), "utf8")}`);
  if (userInfo().uid === 0 && !existsSync("/run/sshd")) mkdirSync("/run/sshd");
  const sshd = startServer(t, "/usr/sbin/sshd", ["-D", "-e", "-f", join(folder, "sshd_config")]);
  await answering(port, sshd);
  const daemon = await RunningDaemon.start(t, { services: { sshd: `127.0.0.1:${port}` }, ...tables });
  const through = (from = "127.0.0.1"): string[] =>
    [
      ["-F", "none", "-i", join(folder, "user")],
      ...[
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "HostKeyAlias=test",
        "StrictHostKeyChecking=yes",
        "ConnectTimeout=10",
      ].map((each) => ["-o", each]),
      [
        "-o",
        `UserKnownHostsFile=${join(folder, "known")}`,
        "-o",
        `Port=${daemon.port("sshd")}`,
        "-o",
        `BindAddress=${from}`,
      ],
    ].flat();
  return { folder, daemon, through, log: () => sshd.said };
}

async function login({ through }: Bed, command: string, from?: string): Promise<Finished> {
  return await run("/usr/bin/ssh", [...through(from), `${user}@127.0.0.1`, command]);
}

type Shell = ChildProcessByStdio<Writable, Readable, null>;

function openShell(t: TestContext, { through }: Bed): Shell {
  const shell = spawn("/usr/bin/ssh", [...through(), `${user}@127.0.0.1`, "cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => shell.kill());
  return shell;
}

async function echo(shell: Shell, line: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const onExit = (status: number | null): void => reject(new Error(`ssh ended with ${status}`));
    shell.once("exit", onExit);
    shell.stdout.once("data", (chunk: Buffer) => {
      shell.off("exit", onExit);
      resolve(chunk.toString());
    });
    shell.stdin.write(line);
  });
}

test("sshd: a client that may come in logs in, and the record has the bytes of the session", async (t) => {
  const sshd = await bed(t, { allow: "sshd: 127.0.0.1\n", deny: "ALL: ALL\n" });
  const { status, out } = await login(sshd, "echo through $SSH_CONNECTION");
  assert.match(out, /^through 127\.0\.0\.1 \d+ 127\.0\.0\.1 \d+\n$/);
  assert.equal(status, 0);
  const accept = await sshd.daemon.find(({ event }) => event === "accept");
  const end = await sshd.daemon.find(({ event }) => event === "end");
  assert.deepEqual(accept.rule, { file: sshd.daemon.allowFile, line: 1 });
  assert.equal(end.id, accept.id);
  assert.ok((end.upBytes ?? 0) > 1000 && (end.downBytes ?? 0) > 1000);
});

test("sshd: a client that may not is reset, and sshd never hears of it", async (t) => {
  const sshd = await bed(t, { allow: "sshd: 127.0.0.1\n", deny: "ALL: ALL\n" });
  const heard = sshd.log();
  const { status, err } = await login(sshd, "true", "127.0.0.66");
  assert.match(err, /Connection reset by (peer|127\.0\.0\.1)/);
  assert.equal(status, 255);
  const refuse = await sshd.daemon.find(({ event }) => event === "refuse");
  assert.deepEqual(
    [refuse.client?.address, refuse.rule],
    ["127.0.0.66", { file: sshd.daemon.denyFile, line: 1 }],
  );
  assert.equal(sshd.log(), heard);
});

test("sshd: 64 MiB copied by scp, there and back, have the same hash", async (t) => {
  const sshd = await bed(t, { allow: "sshd: 127.0.0.1\n", deny: "ALL: ALL\n" });
  const { folder, through } = sshd;
  const bytes = randomBytes(64 * 1024 * 1024);
  writeFileSync(join(folder, "original"), bytes);
  const there = await run("/usr/bin/scp", [
    ...through(),
    join(folder, "original"),
    `${user}@127.0.0.1:${folder}/there`,
  ]);
  assert.equal(there.status, 0, there.err);
  const back = await run("/usr/bin/scp", [
    ...through(),
    `${user}@127.0.0.1:${folder}/there`,
    join(folder, "back"),
  ]);
  assert.equal(back.status, 0, back.err);
  const hash = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
  assert.equal(hash(readFileSync(join(folder, "back"))), hash(bytes));
  const ended = () => sshd.daemon.records.filter(({ event }) => event === "end");
  await sshd.daemon.find(() => ended().length === 2);
  assert.ok((ended()[0]?.upBytes ?? 0) > bytes.length);
  assert.ok((ended()[1]?.downBytes ?? 0) > bytes.length);
});

test("sshd: an interactive session echoes line by line", async (t) => {
  const sshd = await bed(t, { allow: "sshd: 127.0.0.1\n", deny: "ALL: ALL\n" });
  const shell = openShell(t, sshd);
  for (let line = 0; line < 200; line += 1)
    assert.equal(await echo(shell, `line ${line}\n`), `line ${line}\n`);
});

test("sshd: echo 'sshd: ALL' >> hosts.deny refuses the next login while the open session goes on", async (t) => {
  const sshd = await bed(t, { allow: "", deny: "" });
  const shell = openShell(t, sshd);
  assert.equal(await echo(shell, "before\n"), "before\n");
  appendFileSync(sshd.daemon.denyFile, "sshd: ALL\n");
  const { status, err } = await login(sshd, "true");
  assert.match(err, /Connection reset by/);
  assert.equal(status, 255);
  assert.equal(await echo(shell, "after\n"), "after\n");
});

test("sshd: a rule by host name lets localhost in by /etc/hosts, and nobody whose address has no name", async (t) => {
  const sshd = await bed(t, { allow: "sshd: localhost\n", deny: "ALL: ALL\n" });
  assert.equal((await login(sshd, "true")).status, 0);
  const accept = await sshd.daemon.find(({ event }) => event === "accept");
  assert.equal(accept.client?.name, "localhost");
  assert.match((await login(sshd, "true", "127.0.0.66")).err, /Connection reset by/);
});

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

for (const [what, before] of [
  ["", ""],
  [" without its environment, as under sudo", "env -u SSH_CONNECTION "],
] as const)
  test(`sshd: --protect, typed into a session that comes through the daemon${what}, knows its client`, async (t) => {
    const sshd = await bed(t, { allow: "sshd: 127.0.0.\n", deny: "ALL: ALL\n" });
    const { configFile, controlSocket, allowFile, denyFile } = sshd.daemon;
    const flags = `--service sshd=127.0.0.1:1,127.0.0.1:1 -c ${configFile} --control-socket ${controlSocket} --allow-file ${allowFile} --deny-file ${denyFile}`;
    const reload = `${before}${process.execPath} ${program} reload ${flags} --protect; echo "status $?"`;
    const kept = await login(sshd, reload, "127.0.0.5");
    assert.deepEqual([kept.out, kept.err], ["reloaded\nstatus 0\n", ""]);
    const locked = await login(sshd, `echo 'sshd: 127.0.0.1' >${allowFile}; ${reload}`, "127.0.0.5");
    assert.match(locked.err, /^tcpwrapd: error: sshd would refuse you \(127\.0\.0\.5\): .*hosts\.deny:1$/m);
    assert.equal(locked.out, "status 78\n");
  });
