/** A real tftpd behind the daemon as a whole: 32 MiB both ways with the real client, and refusals. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test, type TestContext } from "node:test";

import { RunningDaemon } from "../support/daemon.ts";
import { freePort, needPrograms, run, startServer } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

needPrograms("/usr/sbin/in.tftpd", "/usr/bin/curl", "/usr/bin/tftp");

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
const large = randomBytes(32 * 2 ** 20);
const small = randomBytes(100_000);

/** tftpd-hpa on loopback, with the two files in its folder; it takes new ones too. */
async function startTftpd(t: TestContext): Promise<{ backend: string; root: string; folder: string }> {
  const folder = scratchFolder(t);
  const root = join(folder, "root");
  mkdirSync(root);
  writeFileSync(join(root, "large"), large, { mode: 0o644 });
  writeFileSync(join(root, "small"), small, { mode: 0o644 });
  chmodSync(folder, 0o755);
  chmodSync(root, 0o777); // in.tftpd -c writes as the user tftp
  const port = await freePort();
  const flags = ["-L", "-4", "-c", "-p", "-U", "022", "-a", `127.0.0.1:${port}`, "-s", root, "-u", "tftp"];
  startServer(t, "/usr/sbin/in.tftpd", flags);
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  while (!readFileSync("/proc/net/udp", "latin1").includes(`0100007F:${hexPort}`)) await pause(20);
  return { backend: `udp:127.0.0.1:${port}`, root, folder };
}

async function tftp(port: number, script: string) {
  return await run("/usr/bin/tftp", ["127.0.0.1", `${port}`], `mode binary\n${script}quit\n`);
}

test(
  "tftpd: 32 MiB got and put by the real client pass whole, each transfer is judged and counted",
  { timeout: 120_000 },
  async (t) => {
    const { backend, root, folder } = await startTftpd(t);
    const daemon = await RunningDaemon.start(t, {
      services: {},
      yaml: `names: {reverse: never}\nservices: {tftp: {daemon: in.tftpd, listen: ["udp:127.0.0.1:0"], backend: "${backend}", idleTimeout: 2s}}\n`,
      allow: "in.tftpd: 127.0.0.1\n",
      deny: "ALL: ALL\n",
    });
    const port = daemon.port("tftp");
    writeFileSync(join(folder, "mine"), large);
    const [got, second] = [join(folder, "got"), join(folder, "second")];
    // One client, one port, one request after the other: each is judged, and goes to the service's port again.
    const script = `get large ${got}\nget small ${second}\nput ${join(folder, "mine")} put\n`;
    const said = await tftp(port, script);
    assert.equal(said.status, 0, said.err);
    assert.equal(sha256(readFileSync(got)), sha256(large), said.out + said.err);
    assert.equal(sha256(readFileSync(second)), sha256(small));
    // The last block is acknowledged before it is written.
    for (
      let waitedMs = 0;
      waitedMs < 5000 && readFileSync(join(root, "put")).length < large.length;
      waitedMs += 20
    )
      await pause(20);
    assert.equal(sha256(readFileSync(join(root, "put"))), sha256(large));

    await daemon.find(() => daemon.records.filter(({ event }) => event === "end").length === 3);
    const accepts = daemon.records.filter(({ event }) => event === "accept");
    const ends = daemon.records.filter(({ event }) => event === "end");
    assert.equal(accepts.length, 3);
    assert.ok(accepts.every(({ rule }) => rule?.line === 1));
    assert.equal(new Set(accepts.map(({ client }) => client?.port)).size, 1, "it was one port");
    // K8: a file in blocks of 512 bytes, each with 4 bytes before it, and one more that is empty or short.
    const bytesOf = (size: number) => size + 4 * (Math.floor(size / 512) + 1);
    const byAccept = accepts.map(({ id }) => ends.find((end) => end.id === id));
    assert.ok((byAccept[0]?.downBytes ?? 0) >= bytesOf(large.length));
    assert.ok((byAccept[1]?.downBytes ?? 0) >= bytesOf(small.length));
    assert.ok((byAccept[2]?.upBytes ?? 0) >= bytesOf(large.length));
    assert.deepEqual(
      byAccept.map((end) => end?.cause),
      ["client_closed", "client_closed", "idle_timeout"],
    );
  },
);

test("tftpd: a refused client gets nothing and leaves a record; an edit lets its next request in", async (t) => {
  const { backend, folder } = await startTftpd(t);
  const daemon = await RunningDaemon.start(t, {
    services: { "in.tftpd": backend },
    listen: { "in.tftpd": "udp:127.0.0.1:0" },
    deny: "in.tftpd: 127.0.0.1\n",
  });
  const into = join(folder, "got");
  const url = `tftp://127.0.0.1:${daemon.port("in.tftpd")}/small`;
  const refused = await run("/usr/bin/curl", ["-sS", "--max-time", "3", "-o", into, url]);
  assert.notEqual(refused.status, 0);
  assert.ok(!existsSync(into) || readFileSync(into).length === 0);
  const { client, rule, reason } = await daemon.find(({ event }) => event === "refuse");
  assert.equal(client?.address, "127.0.0.1");
  assert.deepEqual([rule, reason], [{ file: daemon.denyFile, line: 1 }, "rule"]);
  assert.equal(daemon.records.filter(({ event }) => event === "accept").length, 0);
  writeFileSync(daemon.denyFile, "in.tftpd: 192.0.2.\n");
  const allowed = await run("/usr/bin/curl", ["-sS", "--tftp-blksize", "1428", "-o", into, url]);
  assert.equal(allowed.status, 0, allowed.err);
  assert.equal(sha256(readFileSync(into)), sha256(small));
});
