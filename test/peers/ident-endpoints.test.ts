/** The ends of a connection, as the kernel tells them to us and to libwrap. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { needPrograms, run } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

const support = join(import.meta.dirname, "../support");

before(() => needPrograms("/usr/bin/gcc", "/usr/bin/unshare", "/usr/sbin/ip"));

test("addresses, zones and names of both ends are libwrap's, for every kind of peer", async (t) => {
  const folder = scratchFolder(t);
  const caller = join(folder, "caller");
  const built = await run("gcc", ["-w", "-o", caller, join(support, "ident-endpoints.c"), "-lwrap"]);
  assert.equal(built.status, 0, built.err);
  writeFileSync(join(folder, "resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
  writeFileSync(
    join(folder, "hosts"),
    "127.0.0.66 peer.example\n127.0.0.5 mapped.example\nfd00:5::2 six.example\n",
  );
  const addresses = [
    "10.5.0.1/32",
    "10.5.0.2/32",
    "fd00:5::1/128",
    "fd00:5::2/128",
    "fe80::1/64",
    "fe80::2/64",
  ];
  addresses.push("fd00:5:1:2:3:0:5:6/128", "fd00:0:0:1:0:0:0:7/128");
  const add = addresses.map((each) => `ip address add ${each} dev lo${each.includes(":") ? " nodad" : ""}`);
  const script = `set -e
    ip link set lo up
    ${add.join("\n")}
    mount --bind ${folder}/hosts /etc/hosts
    mount --bind ${folder}/resolv.conf /etc/resolv.conf
    cd ${join(support, "../..")}
    exec ${process.execPath} --import tsx ${support}/ident-endpoints.ts ${caller} ${folder}/socket`;
  const { status, out, err } = await run("unshare", [
    "-n",
    "-m",
    "--propagation",
    "private",
    "bash",
    "-c",
    script,
  ]);
  assert.equal(status, 0, err);
  const seen = JSON.parse(out) as { what: string; libwrap: string[]; ours: string[] | string }[];
  assert.ok(seen.length > 8);
  for (const { what, libwrap, ours } of seen) {
    t.diagnostic(`${what}: ${String(ours)}`);
    // libwrap asks the rules about a peer that is gone as "unknown"; we refuse it before any rule.
    if (what === "gone") assert.deepEqual([libwrap[0], ours], ["unknown", "refused: aborted"]);
    else assert.deepEqual(ours, libwrap, what);
  }
});
