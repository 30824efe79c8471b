/** A file system without room: for the records, and for the tables. */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Status } from "../../src/control/api.ts";
import { askDaemon } from "../../src/control/client.ts";
import { talk } from "../support/peers.ts";
import { freePort, startEchoProcess } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

/** A file system of so many KiB, for so many files and folders; itself is one of them. */
function smallDisk(t: TestContext, kibibytes: number, inodes = 100): string {
  const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-disk-"));
  const mounted = spawnSync("mount", [
    "-t",
    "tmpfs",
    "-o",
    `size=${kibibytes}k,nr_inodes=${inodes}`,
    "tcpwrapd",
    folder,
  ]);
  assert.equal(mounted.status, 0, String(mounted.stderr));
  t.after(() => {
    spawnSync("umount", ["--lazy", folder]);
    rmdirSync(folder);
  });
  return folder;
}

/** A daemon that writes its records to a file, and takes its tables from a folder. */
async function startDaemon(
  t: TestContext,
  logFile: string,
  tables: string,
  workers: number,
  socket = join(scratchFolder(t), "control.sock"),
) {
  const port = await freePort();
  const log = openSync(logFile, "a");
  // prettier-ignore
  const daemon = spawn(process.execPath, [
    program, "run", "-c", join(tables, "tcpwrapd.yaml"),
    "--allow-file", join(tables, "hosts.allow"), "--deny-file", join(tables, "hosts.deny"),
    "--log-format", "json", "--control-socket", socket, "--workers", String(workers),
    "--service", `sshd=127.0.0.1:${port},${await startEchoProcess(t)}`,
  ], { stdio: ["ignore", log, "pipe"] });
  closeSync(log);
  let errors = "";
  daemon.stderr?.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  t.after(async () => {
    if (daemon.exitCode !== null || daemon.signalCode !== null) return;
    daemon.kill("SIGKILL");
    await once(daemon, "exit");
  });
  const status = async (): Promise<Status> => (await askDaemon(socket, "GET", "/v1/status")).body as Status;
  for (let tries = 0; ; tries++) {
    try {
      await status();
      return { daemon, port, status };
    } catch (cause) {
      if (tries > 300 || daemon.exitCode !== null) throw new Error(errors, { cause });
      await pause(50);
    }
  }
}

/** Leaves no room on a small disk. */
function fill(folder: string): void {
  spawnSync("dd", ["if=/dev/zero", `of=${join(folder, "filler")}`, "bs=1k", "count=64"]);
}

function writeTables(folder: string): void {
  writeFileSync(join(folder, "hosts.allow"), "sshd: 127.0.0.1\n");
  writeFileSync(join(folder, "hosts.deny"), "ALL: ALL\n");
  writeFileSync(join(folder, "tcpwrapd.yaml"), "names: {reverse: never}\n");
}

for (const workers of [0, 1]) {
  test(`K4: with ${workers} workers, a log on a full disk holds up nobody; what is lost is counted, and told when there is room`, async (t) => {
    const tables = scratchFolder(t);
    writeTables(tables);
    const log = join(smallDisk(t, 64), "log");
    const { daemon, port, status } = await startDaemon(t, log, tables, workers);
    const visit = async (count: number): Promise<void> => {
      for (let client = 0; client < count; client++) {
        assert.deepEqual(await talk(port, { say: "x" }), { text: "x", end: "end" });
        if (client % 10 === 0)
          assert.equal((await talk(port, { from: "127.0.0.66", isHalfClosed: false })).end, "ECONNRESET");
      }
    };
    await visit(300);
    assert.ok(statSync(log).size >= 60 * 1024, "the disk is full");
    const { log: sinks } = await status();
    assert.match(sinks.map(({ trouble }) => trouble ?? "").join(" "), /ENOSPC/);
    const startedAt = performance.now();
    await visit(50);
    assert.ok(performance.now() - startedAt < 5000);

    truncateSync(log, 0);
    let text = "";
    // It is tried again with growing pauses.
    for (let tries = 0; tries < 300 && !/"event":"accept"/.test(text); tries++) {
      await pause(50);
      await visit(1);
      text = readFileSync(log, "utf8");
    }
    assert.match(text, /"event":"accept"/, "records are written again");
    const lost = (await status()).log.reduce((sum, { lostLines }) => sum + lostLines, 0);
    // What did not go out waits in the queue; beyond that it is lost, and a line says how many.
    if (lost > 0) assert.match(text, /"event":"lost"/);
    daemon.kill("SIGTERM");
    assert.deepEqual(await once(daemon, "exit"), [0, null]);
  });
}

test("G13: an edit that fails for want of room leaves the tables in force as they were", async (t) => {
  const tables = smallDisk(t, 32);
  writeTables(tables);
  const { port, status } = await startDaemon(t, join(scratchFolder(t), "log"), tables, 1);
  const before = (await status()).tables.generation;
  fill(tables);
  const edits: [file: string, ...args: string[]][] = [
    ["sed", "-i", "s/127.0.0.1/127.0.0.66/", join(tables, "hosts.allow")],
    ["sh", "-c", `cp ${tables}/hosts.allow ${tables}/new && mv ${tables}/new ${tables}/hosts.allow`],
    ["sh", "-c", `echo 'ALL: 127.0.0.66' >>${tables}/hosts.allow`],
  ];
  // A page of the file that holds the table is there already, so the last of them succeeds.
  for (const [file, ...args] of edits.slice(0, 2))
    assert.notEqual(spawnSync(file, args).status, 0, `${file} ${args.join(" ")}`);
  assert.equal((await talk(port, { say: "in" })).text, "in");
  assert.equal((await talk(port, { from: "127.0.0.66", isHalfClosed: false })).end, "ECONNRESET");
  assert.equal((await status()).tables.generation, before);
  const [file, ...args] = edits[2] ?? [""];
  assert.equal(spawnSync(file, args).status, 0);
  assert.equal((await talk(port, { say: "in", from: "127.0.0.66" })).text, "in");
});

test("on a full disk the daemon starts, is reloaded, serves and stops", async (t) => {
  const folder = smallDisk(t, 32);
  writeTables(folder);
  const backend = await startEchoProcess(t);
  const port = await freePort();
  const config = join(folder, "tcpwrapd.yaml");
  const next = `names: {reverse: never}\nservices: {next: {listen: ["127.0.0.1:${port}"], backend: "${backend}"}}\n`;
  writeFileSync(`${config}.next`, next);
  fill(folder);
  assert.throws(() => writeFileSync(join(folder, "more"), "x"), /ENOSPC/);
  const socket = join(folder, "control.sock");
  const started = await startDaemon(t, join(scratchFolder(t), "log"), folder, 1, socket);
  assert.equal((await talk(started.port, { say: "in" })).text, "in");
  renameSync(`${config}.next`, config);
  const { status, body } = await askDaemon(socket, "POST", "/v1/reload");
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal((await talk(port, { from: "127.0.0.66", isHalfClosed: false })).end, "ECONNRESET");
  appendFileSync(join(folder, "hosts.allow"), "next: 127.0.0.66\n"); // its page is there already
  assert.equal((await talk(port, { say: "in", from: "127.0.0.66" })).text, "in");
  started.daemon.kill("SIGTERM");
  assert.deepEqual(await once(started.daemon, "exit"), [0, null]);
  assert.equal(existsSync(socket), false);
});

test("J8: a control socket for which the disk has no room is status 71 and one clear line, and no listener is left open", async (t) => {
  const folder = smallDisk(t, 32, 2); // the folder itself, and one file
  writeFileSync(join(folder, "filler"), "");
  const tables = scratchFolder(t);
  writeTables(tables);
  const port = await freePort();
  // prettier-ignore
  const ran = spawnSync(process.execPath, [
    program, "run", "-c", join(tables, "tcpwrapd.yaml"),
    "--allow-file", join(tables, "hosts.allow"), "--deny-file", join(tables, "hosts.deny"),
    "--control-socket", join(folder, "control.sock"), "--service", `sshd=127.0.0.1:${port},127.0.0.1:1`,
  ], { encoding: "utf8", timeout: 60_000 });
  assert.equal(ran.status, 71, ran.stderr);
  assert.match(ran.stderr, /^tcpwrapd: no control socket on \S+: .*no space left on device.*\n$/);
  assert.equal((await talk(port)).end, "ECONNREFUSED");
});
