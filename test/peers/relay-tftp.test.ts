/** A real tftpd behind the UDP relay: 32 MiB to two real clients, whose transfers move to ports of their own. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { UdpRelay } from "../../src/relay/udp.ts";
import type { UdpEnd } from "../../src/relay/udp-session.ts";
import { freePort, needPrograms, run, startServer } from "../support/program.ts";

needPrograms("/usr/sbin/in.tftpd", "/usr/bin/curl", "/usr/bin/tftp");

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

test(
  "tftpd: 32 MiB reach curl and tftp whole, two files over one client port",
  { timeout: 120_000 },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "relay-tftp-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const root = join(folder, "root");
    mkdirSync(root);
    const [large, small] = [randomBytes(32 * 2 ** 20), randomBytes(100_000)];
    writeFileSync(join(root, "large"), large, { mode: 0o644 });
    writeFileSync(join(root, "small"), small, { mode: 0o644 });
    for (const each of [folder, root]) chmodSync(each, 0o755);
    const port = await freePort();
    startServer(t, "/usr/sbin/in.tftpd", ["-L", "-4", "-a", `127.0.0.1:${port}`, "-s", root, "-u", "tftp"]);
    const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
    while (!readFileSync("/proc/net/udp", "latin1").includes(`0100007F:${hexPort}`)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    let judged = 0;
    const ends: UdpEnd[] = [];
    const relay = await UdpRelay.listen({
      listen: { address: "127.0.0.1", port: 0 },
      backend: { address: "127.0.0.1", port },
      idleMs: 30_000,
      maxSessions: 10,
      maxPerAddress: 10,
      judge: async () => {
        judged += 1;
        return { ended: (end) => void ends.push(end) };
      },
    });
    t.after(() => relay.close());

    const byCurl = join(folder, "by-curl");
    const url = `tftp://127.0.0.1:${relay.port}/large`;
    const curl = await run("/usr/bin/curl", ["-sS", "--tftp-blksize", "1428", "-o", byCurl, url]);
    assert.equal(curl.status, 0, curl.err);
    assert.equal(sha256(readFileSync(byCurl)), sha256(large));
    assert.equal(judged, 1);

    // One client, one port, one request after the other: each is judged, and goes to the service's port again.
    const [first, second] = [join(folder, "first"), join(folder, "second")];
    const script = `mode binary\nget large ${first}\nget small ${second}\nquit\n`;
    const tftp = await run("/usr/bin/tftp", ["127.0.0.1", `${relay.port}`], script);
    assert.equal(tftp.status, 0, tftp.err);
    assert.equal(sha256(readFileSync(first)), sha256(large));
    assert.ok(existsSync(second), tftp.out + tftp.err);
    assert.equal(sha256(readFileSync(second)), sha256(small));
    assert.equal(judged, 3);
    await relay.close("drain");
    assert.equal(ends.length, 3);
    assert.ok(ends.every(({ downBytes }) => downBytes > 100_000));
  },
);
