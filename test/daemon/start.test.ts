import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

function run(args: readonly string[], environment: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: "utf8",
    timeout: 10_000,
    env: { PATH: process.env["PATH"] ?? "", ...environment },
  });
  return { status, stdout, stderr };
}

function file(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-start-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "tcpwrapd.yaml");
  writeFileSync(path, text);
  return path;
}

const service = ["--service", "sshd=127.0.0.1:0,127.0.0.1:1"];

const rows: [because: string, args: readonly string[], status: number, line: RegExp][] = [
  ["no command", [], 64, /^tcpwrapd: which command\?; "tcpwrapd --help" tells more\n$/],
  ["a misspelt command", ["rnu"], 64, /^tcpwrapd: .*\n$/],
  ["an unknown flag", ["run", "--servce", "x"], 64, /^tcpwrapd: .*servce.*\n$/],
  ["a flag without its value", ["run", "-c"], 64, /^tcpwrapd: .*\n$/],
  [
    "no service",
    ["run", "-c", "/dev/null"],
    78,
    /^configuration: error no-service: no service is configured; add --service sshd=/,
  ],
  [
    "a service that does not read",
    ["run", "--service", "sshd"],
    64,
    /^--service: error bad-service: "sshd" does not read as NAME=LISTEN,BACKEND; write for example/,
  ],
  [
    "a listener that is no address",
    ["run", "--service", "sshd=localhost:22,127.0.0.1:1"],
    64,
    /^--service: error bad-value: .*"localhost:22" is no numeric address; listen on/,
  ],
  [
    "a backend without a port",
    ["run", "--service", "sshd=127.0.0.1:0,127.0.0.1"],
    64,
    /"127\.0\.0\.1" is no address; write the port too/,
  ],
  [
    "workers that are no number",
    ["run", "--workers", "abc", ...service],
    64,
    /^--workers: error bad-value: "process\.workers"/,
  ],
  [
    "a missing configuration file",
    ["run", "-c", "/nonexistent.yaml", ...service],
    78,
    /^\/nonexistent\.yaml: error unreadable: cannot read the configuration: ENOENT; /,
  ],
  [
    "a directory for a configuration",
    ["run", "-c", "/", ...service],
    78,
    /^\/: error unreadable: cannot read the configuration: EISDIR; /,
  ],
  [
    "an address that this machine lacks",
    ["run", "-c", "/dev/null", "--service", "sshd=192.0.2.1:22,127.0.0.1:1"],
    71,
    /^tcpwrapd: cannot listen on 192\.0\.2\.1:22: this machine has no such address; "ip address" lists/,
  ],
];
for (const [because, args, status, line] of rows) {
  test(`J8: ${because}: one clear line and exit status ${status}`, () => {
    const ran = run(args);
    assert.match(ran.stderr, line);
    assert.equal(ran.stderr.trim().split("\n").length, 1);
    assert.equal(ran.status, status);
  });
}

test("J8: an unknown key: file, line, column and the key that was meant", (t) => {
  const path = file(
    t,
    "services:\n  sshd:\n    listen: ['127.0.0.1:0']\n    backend: 127.0.0.1:1\n    idletimeout: 5s\n",
  );
  const ran = run(["run", "-c", path]);
  assert.equal(
    ran.stderr,
    `${path}:5:5: error unknown-key: unknown key "idletimeout" in "services.sshd"; did you mean "idleTimeout"?\n`,
  );
  assert.equal(ran.status, 78);
});

test("J8: a port in use: one clear line, exit status 71, and the other listeners are closed", async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const ran = run([
    "run",
    "-c",
    "/dev/null",
    ...service,
    "--service",
    `web=127.0.0.1:${port},127.0.0.1:1`,
    "--allow-file",
    "/nonexistent",
    "--deny-file",
    "/nonexistent",
  ]);
  assert.equal(
    ran.stderr,
    `tcpwrapd: cannot listen on 127.0.0.1:${port}: the address is in use; "ss -ltnp sport = :${port}" names the program that listens there; where that is systemd, a socket unit holds it, as ssh.socket does ("systemctl list-sockets")\n`,
  );
  assert.equal(ran.status, 71);
});

test("G11: Ctrl-C while a worker is on its way up ends the start, and nothing has failed", async (t) => {
  const control = join(file(t, ""), "..", "control.sock");
  const started = spawn(process.execPath, [program, "run", ...service, "--control-socket", control], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const pid = started.pid ?? 0;
  let errors = "";
  started.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  const ended = once(started, "close");
  const children = `/proc/${pid}/task/${pid}/children`;
  while (started.exitCode === null && readFileSync(children, "utf8") === "") await pause(5);
  process.kill(-pid, "SIGINT");
  assert.deepEqual(await ended, [0, null]);
  assert.equal(errors, "");
});

test("every command has help with an example", () => {
  for (const command of ["run", "match", "demo"]) {
    const ran = run([command, "--help"]);
    assert.match(ran.stdout, /^Examples:$/m, command);
    assert.match(ran.stdout, /--allow-file|demo/, command);
    assert.equal(ran.status, 0);
  }
  assert.match(run(["--version"]).stdout, /^\d+\.\d+\.\d+\n$/);
});
