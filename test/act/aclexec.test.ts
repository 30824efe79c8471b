import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Aclexecs } from "../../src/act/aclexec.ts";
import type { Command, CommandOutcome } from "../../src/access/types.ts";
import { localPrograms } from "../../src/platform/commands.ts";
import type { Programs } from "../../src/platform/commands.ts";
import { scratchFolder } from "../support/scratch.ts";

const never = new AbortController().signal;

function command(line: string, more: Partial<Command> = {}): Command {
  return { line, environment: {}, ...more };
}

async function run(
  what: Command,
  options: { timeoutMs?: number; maxRunning?: number; signal?: AbortSignal; programs?: Programs } = {},
): Promise<{ outcome: CommandOutcome; warnings: string[] }> {
  const warnings: string[] = [];
  const aclexecs = new Aclexecs({ programs: localPrograms, timeoutMs: 60_000, maxRunning: 10, ...options });
  const outcome = await aclexecs.run(what, {
    signal: options.signal ?? never,
    warn: (message) => warnings.push(message),
  });
  return { outcome, warnings };
}

const rows: [what: Command, outcome: CommandOutcome, warning: string | undefined, because: string][] = [
  [command("exit 0"), "succeeded", undefined, "exit status 0 succeeds"],
  [command("exit 1"), "failed", "exit status 1", "another exit status fails"],
  [command("/no/such/program"), "failed", "exit status 127", "a command that is not there fails"],
  [command("kill -9 $$"), "failed", "ended by SIGKILL", "a signal fails"],
  [command("kill -TERM $$"), "failed", "ended by SIGTERM", "a signal fails, even one that asks politely"],
  [command("true", { user: "nosuchuser" }), "failed", 'unknown user: "nosuchuser"', "an unknown user fails"],
  [command('test "$A" = b', { environment: { A: "b" } }), "succeeded", undefined, "setenv before it counts"],
  [command('test "$(umask)" = 0027', { umask: 0o27 }), "succeeded", undefined, "umask before it counts"],
  [
    command("yes | head -c 10000000"),
    "succeeded",
    undefined,
    "A20: printing a lot goes nowhere and holds nobody",
  ],
  [
    command('test -z "$(cat)"'),
    "succeeded",
    undefined,
    "there is nothing to read, least of all from the client",
  ],
  [
    command("sleep 100 & exit 0"),
    "succeeded",
    undefined,
    "the shell's end counts, not that of what it leaves behind",
  ],
];
for (const [what, outcome, warning, because] of rows)
  test(`aclexec "${what.line}": ${because}`, async () => {
    const warnings = warning === undefined ? [] : [`aclexec "${what.line}": ${warning}`];
    assert.deepEqual(await run(what), { outcome, warnings });
  });

test("A20: aclexec: a missing shell fails", async () => {
  const programs: Programs = {
    start: async (program) =>
      await localPrograms.start({ ...program, argv: ["/no/such/shell", ...program.argv.slice(1)] }),
  };
  assert.equal((await run(command("true"), { programs })).outcome, "failed");
});

test("A20: aclexec that hangs fails at the limit, and its whole group is killed", async (t) => {
  const pids = join(scratchFolder(t), "pids");
  writeFileSync(pids, "");
  const line = `sleep 100 & echo $! >> ${pids}; trap '' TERM; echo $$ >> ${pids}; sleep 100; sleep 100`;
  const { outcome, warnings } = await run(command(line), { timeoutMs: 200 });
  assert.equal(outcome, "failed");
  assert.match(warnings[0] ?? "", /no answer in 200 ms, killed$/);
  const started = readFileSync(pids, "utf8").trim().split("\n").map(Number);
  assert.equal(started.length, 2);
  for (const pid of started) await until(() => isOver(pid));
});

test("aclexec of a connection that is given up is killed", async () => {
  const stop = new AbortController();
  const running = run(command("sleep 100"), { signal: stop.signal });
  setTimeout(() => stop.abort(), 20);
  assert.equal((await running).outcome, "failed");
  assert.equal(
    (await run(command("true"), { signal: stop.signal })).outcome,
    "failed",
    "one given up already is not started",
  );
});

test("aclexec is bounded in number; one more fails", async () => {
  const aclexecs = new Aclexecs({ programs: localPrograms, timeoutMs: 60_000, maxRunning: 1 });
  const warnings: string[] = [];
  const request = { signal: never, warn: (message: string) => warnings.push(message) };
  const first = aclexecs.run(command("sleep 0.05"), request);
  assert.equal(await aclexecs.run(command("true"), request), "failed");
  assert.deepEqual(warnings, ['aclexec "true": too many commands are running']);
  assert.equal(await first, "succeeded");
  await until(() => aclexecs.running === 0);
  assert.equal(await aclexecs.run(command("true"), request), "succeeded", "a place is free again");
});

test("aclexec: nothing is sticky: a failure does not touch the next request", async () => {
  assert.equal((await run(command("false"))).outcome, "failed");
  assert.equal((await run(command("true"))).outcome, "succeeded");
});

/** A zombie is over: process 1 reaps it in its own time. */
function isOver(pid: number): boolean {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return true;
  }
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}
