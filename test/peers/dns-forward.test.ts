import assert from "node:assert/strict";
import { join } from "node:path";
import { before, test } from "node:test";
import { needPrograms, run } from "../support/program.ts";

const root = join(import.meta.dirname, "../..");

before(() => needPrograms("/usr/bin/unshare", "/usr/sbin/ip"));

test("F9: a rule with a DynDNS name follows its address, and stays with the last good one while DNS is away", async (t) => {
  const script = `set -e
    ip link set lo up
    for last in 1 2 3; do ip address add 10.5.0.$last/32 dev lo; done
    cd ${root}
    exec env -u NODE_TEST_CONTEXT ${process.execPath} --import tsx test/support/dns-forward.ts`;
  const { status, out, err } = await run("unshare", ["-n", "bash", "-c", script]);
  for (const line of out.split("\n")) if (line.startsWith("# the")) t.diagnostic(line.slice(2));
  assert.equal(status, 0, out + err);
});
