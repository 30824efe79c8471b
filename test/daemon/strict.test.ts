/** `access.strict` through the daemon: at the start, at an edit, at a reload. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { RunningDaemon } from "../support/daemon.ts";
import { startBackend, talk } from "../support/peers.ts";
import { scratchFolder } from "../support/scratch.ts";

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const yaml = "names: {reverse: needed}\naccess: {strict: true}\n";

test("strict: the daemon does not start with a dead rule (78), and says where it is and what to write", (t) => {
  const folder = scratchFolder(t);
  const paths = ["tcpwrapd.yaml", "hosts.allow", "hosts.deny"].map((name) => join(folder, name));
  const [config = "", allow = "", deny = ""] = paths;
  writeFileSync(config, yaml);
  writeFileSync(allow, "sshd: 127.0.0.1\n");
  writeFileSync(deny, "ALL: 127.0.0.1/8\n");
  const args = ["run", "-c", config, "--allow-file", allow, "--deny-file", deny];
  const ran = spawnSync(process.execPath, [program, ...args, "--service", "sshd=127.0.0.1:0,127.0.0.1:1"], {
    encoding: "utf8",
  });
  assert.equal(ran.status, 78, ran.stderr);
  assert.equal(
    ran.stderr,
    `${deny}:1:6: warning host-bits-set: "127.0.0.1/8" has bits set below the mask; write "127.0.0.0/8"\n`,
  );
});

test("L2: strict: the daemon does not start with a table that a group can write (78)", async (t) => {
  const folder = scratchFolder(t);
  const [config, allow, deny] = [join(folder, "tcpwrapd.yaml"), join(folder, "allow"), join(folder, "deny")];
  writeFileSync(config, yaml);
  writeFileSync(allow, "sshd: 127.0.0.1\n");
  writeFileSync(deny, "ALL: ALL\n");
  chmodSync(deny, 0o664);
  const args = ["run", "-c", config, "--allow-file", allow, "--deny-file", deny];
  const ran = spawnSync(process.execPath, [program, ...args, "--service", "sshd=127.0.0.1:0,127.0.0.1:1"], {
    encoding: "utf8",
  });
  assert.equal(ran.status, 78, ran.stderr);
  assert.match(ran.stderr, /^\S+\/deny: warning group-writable: .*; chmod g-w \S+\/deny\n$/);
});

test("strict: an edit with an error leaves the old rules, with a tables record at level error; so does a reload", async (t) => {
  const backend = await startBackend(t);
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    allow: "sshd: 127.0.0.1\n",
    deny: "ALL: ALL\n",
    yaml,
  });
  const port = daemon.port("sshd");
  assert.equal((await talk(port, { say: "one" })).text, "one");
  appendFileSync(daemon.allowFile, "sshd: 127.0.0.66 127.0.0.1/33\n");
  assert.equal((await talk(port, { say: "two", from: "127.0.0.66" })).end, "ECONNRESET");
  assert.equal((await talk(port, { say: "three" })).text, "three");
  const record = await daemon.find(({ event, level }) => event === "tables" && level === "error");
  const [kept, ...refused] = record["diagnostics"] as { code: string; line: number }[];
  assert.deepEqual([record.generation, kept?.code], [1, "table-refused"]);
  assert.deepEqual(
    refused.map(({ code, line }) => `${line} ${code}`),
    ["2 bad-net-mask"],
  );
  daemon.process.kill("SIGHUP");
  const reload = await daemon.find(({ code }) => code === "reload-refused");
  assert.match(String(reload["message"]), /hosts\.allow:2:18: warning bad-net-mask/);
  writeFileSync(daemon.allowFile, "sshd: 127.0.0.1 127.0.0.66\n");
  await daemon.find(({ event, generation }) => event === "tables" && generation === 2);
  assert.equal((await talk(port, { say: "four", from: "127.0.0.66" })).text, "four");
});
