/** The default routes, as the kernel prints them. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { endianness } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { defaultGateways } from "../../src/platform/gateways.ts";
import { scratchFolder } from "../support/scratch.ts";

test("the gateways are those of default routes that are up, of both families", (t) => {
  const folder = scratchFolder(t);
  const bytes = ["AC", "11", "00", "01"]; // 172.17.0.1
  const gateway = (endianness() === "LE" ? bytes.toReversed() : bytes).join("");
  writeFileSync(
    join(folder, "route"),
    `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t${gateway}\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t00000000\t01020304\t0002\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
`,
  );
  const none = "0".repeat(32);
  const linkLocal = `fe80${"0".repeat(27)}1`;
  writeFileSync(
    join(folder, "ipv6_route"),
    `${none} 00 ${none} 00 ${linkLocal} 00000400 00000001 00000000 00000003     eth0
${none} 00 ${none} 00 ${none} ffffffff 00000001 00000000 00200200       lo
fe80${"0".repeat(28)} 40 ${none} 00 ${none} 00000100 00000001 00000000 00000001     eth0
`,
  );
  assert.deepEqual([...defaultGateways(folder)], ["172.17.0.1", "fe80::1"]);
});

test("where the kernel shows no routes there is no gateway", (t) => {
  assert.deepEqual([...defaultGateways(join(scratchFolder(t), "none"))], []);
});
