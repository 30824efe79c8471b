/** Real programs of inetd's time serve real clients through a hand-over, and see who they are. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import type { TestContext } from "node:test";
import { handOver } from "../../src/act/hand-over.ts";
import type { HandedOver } from "../../src/act/hand-over.ts";
import { Refusals } from "../../src/act/refuse.ts";
import { localPrograms } from "../../src/platform/commands.ts";
import { closeInherited } from "../../src/platform/descriptors.ts";
import { scratchFolder } from "../support/scratch.ts";

/** Clients come from here, so that a server that saw us and not them would be found out. */
const clientAddress = "127.0.0.66";

interface Front {
  readonly port: number;
  /** What the programs have said on descriptor 2. */
  readonly said: string[];
  /** How the hand-overs went, in the order in which they ended. */
  readonly ended: HandedOver[];
  /** Resolves when so many have ended. */
  endedTimes(count: number): Promise<void>;
}

/** A listener that hands every client over to one program. */
async function front(t: TestContext, exec: readonly [string, ...string[]]): Promise<Front> {
  const refusals = new Refusals({ maxHeld: 0, holdMs: 1, maxClosing: 1, closeMs: 1000 });
  const said: string[] = [];
  const ended: HandedOver[] = [];
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (client) => {
    client.on("error", () => {});
    const request = {
      daemon: "test",
      client: { address: client.remoteAddress ?? "unknown", port: client.remotePort ?? 0 },
      server: { address: client.localAddress ?? "unknown" },
    };
    const ports = {
      programs: localPrograms,
      refusals,
      refusal: "reset",
      warn: (line: string) => said.push(line),
    } as const;
    void handOver(exec, client, request, ports).then((handed) => {
      ended.push(handed);
      server.emit("handed-over");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const endedTimes = async (count: number): Promise<void> => {
    while (ended.length < count) await once(server, "handed-over");
  };
  return { port: (server.address() as AddressInfo).port, said, ended, endedTimes };
}

interface Client {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

async function run(file: string, args: readonly string[], input = ""): Promise<Client> {
  const child = spawn(file, args);
  let [out, err] = ["", ""];
  child.stdout.setEncoding("latin1").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("latin1").on("data", (text: string) => (err += text));
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [status] = (await once(child, "close")) as [number | null];
  return { status, out, err };
}

before(() => {
  closeInherited();
  for (const peer of [
    "/usr/sbin/sshd",
    "/usr/sbin/vsftpd",
    "/usr/sbin/telnetd",
    "/usr/sbin/tcpd",
    "/usr/bin/ssh",
    "/usr/bin/curl",
  ])
    assert.ok(existsSync(peer), `${peer} is missing; test/peers.sh installs it`);
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
});

interface Ssh extends Front {
  readonly folder: string;
  ssh(command: string, input?: string): Promise<Client>;
}

async function sshd(t: TestContext): Promise<Ssh> {
  const folder = scratchFolder(t);
  const file = (name: string): string => join(folder, name);
  for (const key of ["host", "user"])
    spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file(key)]);
  writeFileSync(
    file("sshd_config"),
    [
      `HostKey ${file("host")}`,
      "PidFile none",
      `AuthorizedKeysFile ${file("user.pub")}`,
      "StrictModes no",
      "UsePAM no",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "PermitRootLogin prohibit-password",
      "LogLevel VERBOSE",
      "Subsystem sftp internal-sftp",
      "",
    ].join("\n"),
  );
  const there = await front(t, ["/usr/sbin/sshd", "-i", "-e", "-f", file("sshd_config")]);
  const options = ["-F", "none", "-b", clientAddress, "-i", file("user"), "-p", String(there.port)].concat(
    [
      "BatchMode=yes",
      "IdentitiesOnly=yes",
      "StrictHostKeyChecking=accept-new",
      `UserKnownHostsFile=${file("known")}`,
    ].flatMap((option) => ["-o", option]),
  );
  const login = `${userInfo().username}@127.0.0.1`;
  return {
    ...there,
    folder,
    ssh: async (command, input) => await run("ssh", [...options, login, command], input),
  };
}

test("sshd -i: a login works, and sshd sees and logs the true client", async (t) => {
  const there = await sshd(t);
  const { status, out, err } = await there.ssh("echo $SSH_CONNECTION; exit 5");
  assert.equal(status, 5, err);
  assert.match(out, /^127\.0\.0\.66 \d+ 127\.0\.0\.1 \d+\n$/);
  await there.endedTimes(1);
  assert.match(there.said.join("\n"), /^Accepted publickey for \S+ from 127\.0\.0\.66 port \d+/m);
  const [handed] = there.ended;
  assert.ok(handed?.kind === "served");
  assert.equal(handed.end.signal, null);
  assert.ok(handed.end.durationMs > 0);
});

test("sshd -i: 16 MiB pass both ways unchanged", async (t) => {
  const there = await sshd(t);
  const data = randomBytes(16 * 1024 * 1024).toString("latin1");
  const { status, out, err } = await there.ssh("cat", data);
  assert.equal(status, 0, err);
  assert.equal(sha256(out), sha256(Buffer.from(data, "utf8").toString("latin1")));
});

test("L3: sshd -i: it and its sessions hold none of our descriptors", async (t) => {
  const there = await sshd(t);
  // The session's shell, its sshd, and that one's parent: whatever they hold must be their own, none a listener of ours.
  const { out } = await there.ssh("for p in $$ $PPID; do ls -l /proc/$p/fd; done; cat /proc/net/tcp");
  const listener = out
    .split("\n")
    .find((line) =>
      line.includes(`:${there.port.toString(16).toUpperCase().padStart(4, "0")} 00000000:0000 0A`),
    );
  const inode = listener?.trim().split(/\s+/)[9];
  assert.ok(inode, "the listener is in the table of sockets");
  assert.match(out, /socket:\[\d+\]|pipe:\[\d+\]/);
  assert.ok(!out.includes(`socket:[${inode}]`), "and in none of the programs");
});

test("sshd -i: a client that hangs up before it logs in ends it", async (t) => {
  const there = await sshd(t);
  const banner = await run("curl", [
    "-s",
    "--interface",
    clientAddress,
    "-m",
    "1",
    `telnet://127.0.0.1:${there.port}`,
  ]);
  assert.match(banner.out, /^SSH-2\.0-OpenSSH/);
  await there.endedTimes(1);
  const [handed] = there.ended;
  assert.ok(handed?.kind === "served");
  assert.equal(handed.end.status, 255);
});

function vsftpdConfig(folder: string): string {
  const [root, empty, conf] = [join(folder, "root"), join(folder, "empty"), join(folder, "vsftpd.conf")];
  for (const made of [root, empty]) mkdirSync(made);
  for (const made of [root, empty]) chmodSync(made, 0o755);
  const lines = [
    "listen=NO",
    "listen_ipv6=NO",
    "anonymous_enable=YES",
    "no_anon_password=YES",
    "local_enable=NO",
    `anon_root=${root}`,
    `secure_chroot_dir=${empty}`,
    "ftp_username=ftp",
    "nopriv_user=nobody",
    "seccomp_sandbox=NO",
    "tcp_wrappers=NO",
    "port_enable=YES",
    "pasv_enable=YES",
    `vsftpd_log_file=${join(folder, "vsftpd.log")}`,
    "xferlog_enable=YES",
  ];
  writeFileSync(conf, `${lines.join("\n")}\n`);
  return conf;
}

const transfers: [how: string, options: string[]][] = [
  ["passive (EPSV)", []],
  ["passive (PASV)", ["--disable-epsv"]],
  ["active (EPRT)", ["--ftp-port", clientAddress]],
  ["active (PORT)", ["--ftp-port", clientAddress, "--disable-eprt"]],
];
const starters: [name: string, exec: (conf: string) => readonly [string, ...string[]]][] = [
  ["vsftpd", (conf) => ["/usr/sbin/vsftpd", conf]],
  // tcpd takes the daemon to run from its own name, as inetd.conf gives it.
  ["tcpd before vsftpd", (conf) => ["/bin/bash", "-c", 'exec -a vsftpd /usr/sbin/tcpd "$0"', conf]],
];
for (const [name, exec] of starters)
  for (const [how, options] of transfers)
    test(`${name}: login and ${how} transfer work, and it logs the true client`, async (t) => {
      const folder = scratchFolder(t);
      const there = await front(t, exec(vsftpdConfig(folder)));
      const data = randomBytes(2 * 1024 * 1024);
      writeFileSync(join(folder, "root", "file"), data);
      const url = `ftp://127.0.0.1:${there.port}/file`;
      const { status, out, err } = await run("curl", [
        "-sS",
        "-m",
        "20",
        "--interface",
        clientAddress,
        ...options,
        url,
      ]);
      assert.equal(status, 0, `${err} ${there.said.join(" ")}`);
      assert.equal(sha256(out), sha256(data.toString("latin1")));
      await there.endedTimes(1);
      assert.match(readFileSync(join(folder, "vsftpd.log"), "utf8"), /CONNECT: Client "127\.0\.0\.66"/);
      const [handed] = there.ended;
      assert.ok(handed?.kind === "served");
      // 0, or 2 when its parent hears of its child's end by SIGCHLD first: a race within vsftpd.
      assert.match(String(handed.end.status), /^[02]$/);
    });

test("telnetd: negotiates, runs its program on a terminal, and ends with it", async (t) => {
  const folder = scratchFolder(t);
  const program = join(folder, "login");
  // telnetd throws away what its terminal still holds when the program has ended.
  writeFileSync(program, '#!/bin/sh\nprintf "name: "; read name; test -t 0 && echo "hello $name"; sleep 1\n');
  chmodSync(program, 0o755);
  const there = await front(t, ["/usr/sbin/telnetd", "-E", program]);
  const { out } = await run(
    "curl",
    ["-s", "-m", "20", "--interface", clientAddress, `telnet://127.0.0.1:${there.port}`],
    "bob\n",
  );
  assert.match(out, /hello bob/);
  await there.endedTimes(1);
  assert.equal(there.ended[0]?.kind, "served");
});

function sha256(latin1: string): string {
  return createHash("sha256").update(latin1, "latin1").digest("hex");
}
