import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { scratchFolder } from "../support/scratch.ts";

const run = promisify(execFile);
const support = join(import.meta.dirname, "../support");

const hosts = `
127.0.0.1 localhost
10.1.0.1 printer.example printer
10.1.0.2	Upper.Example	# a comment
10.1.0.3 main alias
10.1.0.4 dup
10.1.0.5 dup
10.1.0.6 first
10.1.0.6 second
10.1.0.7 bad;name
10.1.0.8 mainb twin
10.1.0.9 twin
10.1.0.10 unknown
10.1.0.11 v6host
2001:db8:1::1 v6host
2001:db8:1::2 V6Upper.example
::ffff:10.1.0.12 mapped
10.1.0.12 plain
10.1.0.13
10.1.0.14 1.2.3.4
10.1.0.15 -dash
10.1.0.16 under_score
10.1.0.17 ${"n".repeat(130)}
10.1.0.18 dot.at.end.
10.0.0.1 h1.example
10.7.7.7 h2.example
`;

test("the name that we find is the one that the installed libwrap finds, on the same records", async (t) => {
  const folder = scratchFolder(t);
  const caller = join(folder, "caller");
  await run("gcc", ["-w", "-o", caller, join(support, "dns-libwrap.c"), "-lwrap"]);
  writeFileSync(join(folder, "hosts"), hosts);
  writeFileSync(join(folder, "resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n");
  const script = `set -e
    ip link set lo up
    mount --bind ${folder}/hosts /etc/hosts
    mount --bind ${folder}/resolv.conf /etc/resolv.conf
    exec ${process.execPath} --import tsx ${support}/dns-compare.ts ${caller}`;
  const { stdout } = await run("unshare", ["-n", "-m", "--propagation", "private", "bash", "-c", script], {
    cwd: join(support, "../.."),
    timeout: 120_000,
  });
  const result = JSON.parse(stdout) as {
    compared: number;
    status: number;
    counts: object;
    differences: object[];
  };
  t.diagnostic(
    `${result.compared} addresses compared with libwrap, ${result.differences.length} undeclared differences`,
  );
  t.diagnostic(`ours: ${JSON.stringify(result.counts)}`);
  assert.equal(result.status, 0);
  assert.deepEqual(result.differences, []);
});
