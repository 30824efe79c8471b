/** What the supervisor starts for a worker that has given up root, and what it does not, whatever the worker says. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { schema } from "../../src/config/schema.ts";
import type { Program, Programs } from "../../src/platform/commands.ts";
import { AllowedPrograms } from "../../src/workers/allowed-programs.ts";
import { scratchFolder } from "../support/scratch.ts";

interface Bed {
  readonly programs: AllowedPrograms;
  readonly started: Program[];
  readonly write: (table: "allow" | "deny", text: string) => void;
}

function makeBed(t: TestContext, allow: string, deny = ""): Bed {
  const folder = scratchFolder(t);
  const files = { allow: join(folder, "hosts.allow"), deny: join(folder, "hosts.deny") };
  writeFileSync(files.allow, allow);
  writeFileSync(files.deny, deny);
  const started: Program[] = [];
  const real: Programs = {
    start: async (program) => {
      started.push(program);
      return { pid: 1, ended: new Promise(() => undefined), kill: () => false };
    },
  };
  const programs = new AllowedPrograms(real);
  const settings = schema.parse({
    access: files,
    services: { ssh: { listen: ["127.0.0.1:1"], exec: ["/usr/sbin/sshd", "-i"] } },
  });
  programs.use({ settings, inlineTables: new Map() });
  return { programs, started, write: (table, text) => writeFileSync(files[table], text) };
}

const refused = /neither the configuration nor a table has this program/;
const shell = (line: string, more: Partial<Program> = {}): Program => ({
  argv: ["/bin/sh", "-c", line],
  environment: {},
  ...more,
});

test("forged requests start nothing", async (t) => {
  const { programs, started } = makeBed(
    t,
    "ssh: ALL: spawn /bin/echo %a\nweb: ALL: user nobody: twist /bin/cat\n",
  );
  const forged: Program[] = [
    { argv: ["/bin/sh"] },
    { argv: ["/usr/bin/id"] },
    { argv: ["/usr/sbin/sshd", "-i", "-oAuthorizedKeysFile=/tmp/mine"] },
    { argv: ["/usr/sbin/sshd"] },
    { argv: ["/usr/sbin/sshd", "-i"], environment: { LD_PRELOAD: "/tmp/x.so" } },
    { argv: ["/usr/sbin/sshd", "-i"], environment: { REMOTE_ADDR: "$(id)" } },
    shell("id"),
    shell("/bin/echo 192.0.2.1; id"),
    shell("/bin/cat"),
    shell("/bin/cat", { user: "root" }),
    shell("/bin/echo 192.0.2.1", { environment: { BASH_ENV: "/tmp/x" } }),
    { argv: ["/bin/sh", "-c", "/bin/echo 192.0.2.1", "more"] },
    { argv: ["/bin/bash", "-c", "/bin/echo 192.0.2.1"] },
  ];
  for (const program of forged)
    await assert.rejects(programs.start(program), refused, program.argv.join(" "));
  assert.deepEqual(started, []);
});

test("what the configuration and the tables have is started", async (t) => {
  const { programs, started } = makeBed(
    t,
    "ssh: ALL: spawn /bin/echo %a\n",
    "web: ALL: user nobody: twist /bin/cat\n",
  );
  await programs.start({
    argv: ["/usr/sbin/sshd", "-i"],
    environment: { REMOTE_ADDR: "2001:db8::1", REMOTE_PORT: "5" },
  });
  await programs.start(shell("/bin/echo 192.0.2.1"));
  await programs.start(shell("/bin/cat", { user: "nobody" }));
  assert.equal(started.length, 3);
});

test("an edit counts at once, and what stood before is still known", async (t) => {
  const { programs, started, write } = makeBed(t, "ssh: ALL: spawn /bin/one\n");
  await programs.start(shell("/bin/one"));
  await assert.rejects(programs.start(shell("/bin/two")), refused);
  write("allow", "ssh: ALL: spawn /bin/two and more\n");
  await programs.start(shell("/bin/two and more"));
  await programs.start(shell("/bin/one"));
  assert.equal(started.length, 3);
});
