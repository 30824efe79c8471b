/** A backend sees the client's own address, in a network namespace of its own, for IPv4 and IPv6. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { run } from "../support/program.ts";

const setUp = `set -e
ip link set lo up
for family in -4 -6; do
  ip $family route add local default dev lo table 100
  ip $family rule add ipproto tcp sport 2222 lookup 100
done
exec "$@"`;

test("C6: a backend on 127.0.0.1 and ::1 sees clients that this machine does not have; check lacks nothing", async () => {
  const script = join(import.meta.dirname, "../relay/support/transparent-namespace.ts");
  const inNamespace = ["-n", "sh", "-c", setUp, "sh", "node", "--import", "tsx", script];
  const { status, out, err } = await run("/usr/bin/unshare", inNamespace);
  assert.equal(status, 0, err);
  assert.deepEqual(JSON.parse(out), {
    missing: [],
    seen: ["198.51.100.11 answer", "::ffff:198.51.100.12 answer", "2001:db8::11 answer"],
  });
});
