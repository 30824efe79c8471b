/**
 * What DenyHosts and fail2ban do on a bad day: 20,000 lines appended to a hosts.deny of 100,000, one a millisecond.
 *
 *     npm run build && node --import tsx test/bench/access-appends.ts
 *
 * Fails when a line is lost. Prints how many generations were loaded, and how long the slowest line took to count.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import type * as decideModule from "../../src/access/decide.ts";
import type * as liveModule from "../../src/config/live.ts";

const APPENDS = 20_000;
const LINES = 100_000;

const dist = new URL("../../dist/", import.meta.url).href;
const { LiveTables } = (await import(`${dist}config/live.js`)) as Pick<typeof liveModule, "LiveTables">;
const { decide } = (await import(`${dist}access/decide.js`)) as Pick<typeof decideModule, "decide">;

/** Appends a line a millisecond, in a process of its own, and says when each was written. */
const writer = `
  const { appendFileSync } = require("node:fs");
  const [file, count] = process.argv.slice(1);
  const times = [];
  const start = Date.now();
  const timer = setInterval(() => {
    while (times.length < count && times.length < Date.now() - start) {
      const n = times.length;
      appendFileSync(file, "sshd: 10.1." + (n >> 8) + "." + (n & 255) + "\\n");
      times.push(Date.now());
    }
    if (times.length < count) return;
    clearInterval(timer);
    console.log(JSON.stringify(times));
  }, 1);
`;

const folder = mkdtempSync(join(tmpdir(), "bench-"));
const deny = join(folder, "hosts.deny");
writeFileSync(
  deny,
  Array.from({ length: LINES }, (_, n) => `ALL: 192.${n >> 16}.${(n >> 8) & 255}.${n & 255}\n`).join(""),
);
const generations: { at: number; rules: number }[] = [];
const live = await LiveTables.open({
  allow: join(folder, "hosts.allow"),
  deny,
  noMatch: "allow",
  missing: "empty",
  onChange: ({ generation }) => generations.push({ at: Date.now(), rules: generation.denyRules }),
});
try {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const program = spawn(process.execPath, ["-e", writer, deny, String(APPENDS)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  program.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(program, "exit");
  const isOver = (): boolean => program.exitCode !== null && live.current.denyRules === LINES + APPENDS;
  // Connections come in all the time, and each looks at the files.
  for (const until = Date.now() + 120_000; !isOver() && Date.now() < until; await pause(5)) live.fresh();
  await ended;
  delay.disable();
  assert.equal(live.current.denyRules, LINES + APPENDS, "no line is lost");
  for (let n = 0; n < APPENDS; n++) {
    const client = { address: `10.1.${n >> 8}.${n & 255}`, name: "unknown" };
    const verdict = decide(live.current.tables, { daemon: "sshd", client, server: { address: "10.0.0.1" } });
    assert.equal(verdict.kind === "refuse" && verdict.rule?.line, LINES + n + 1);
  }
  const times = JSON.parse(output) as number[];
  const waits = times.map((written, n) => {
    const counted = generations.find(({ rules }) => rules > LINES + n);
    return (counted?.at ?? Number.POSITIVE_INFINITY) - written;
  });
  waits.sort((one, other) => one - other);
  console.log(
    `${APPENDS} lines appended to ${LINES} in ${((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1000} s, none lost`,
  );
  console.log(
    `${generations.length - 1} loads; a line counted after ${waits[APPENDS >> 1]} ms (median), ${waits.at(-1)} ms (slowest)`,
  );
  console.log(`longest pause of the event loop ${(delay.max / 1e6).toFixed(1)} ms`);
} finally {
  live.close();
  rmSync(folder, { recursive: true });
}
