import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);
const support = join(import.meta.dirname, "../support");

for (const how of ["write", "rename"]) {
  test(`F10: resolv.conf rewritten (${how}) is noticed within 10 s, and old answers are forgotten`, async (t) => {
    const script = `set -e
      ip link set lo up
      mount -t tmpfs none /etc
      echo 'nameserver 127.0.0.1' >/etc/resolv.conf
      exec ${process.execPath} --import tsx ${support}/dns-resolv-conf.ts ${how}`;
    const { stdout } = await run("unshare", ["-n", "-m", "--propagation", "private", "bash", "-c", script], {
      cwd: join(support, "../.."),
      timeout: 60_000,
    });
    const { first, name, noticedMs } = JSON.parse(stdout) as {
      first: string;
      name: string;
      noticedMs: number;
    };
    t.diagnostic(`noticed after ${noticedMs} ms`);
    assert.deepEqual([first, name], ["before.example", "after.example"]);
    assert.ok(noticedMs < 10_000);
  });
}
