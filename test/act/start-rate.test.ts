import assert from "node:assert/strict";
import { test } from "node:test";
import { limitStarts, limitStartsOfEach, TooManyStarts } from "../../src/act/start-rate.ts";
import type { Programs, Running } from "../../src/platform/commands.ts";

const running: Running = {
  pid: 1,
  ended: Promise.resolve({ status: 0, signal: null, durationMs: 0 }),
  kill: () => false,
};

test("C8: starts are limited to a burst, and then to a rate", async () => {
  let [now, started] = [0, 0];
  const programs: Programs = {
    start: async () => {
      started += 1;
      return running;
    },
  };
  const limited = limitStarts(programs, { perMinute: 60, burst: 3 }, () => now);
  const tryTo = async (times: number): Promise<number> => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: times }, () => limited.start({ argv: ["/bin/true"] })),
    );
    for (const outcome of outcomes)
      if (outcome.status === "rejected") assert.ok(outcome.reason instanceof TooManyStarts);
    return outcomes.filter(({ status }) => status === "fulfilled").length;
  };
  assert.equal(await tryTo(10), 3, "the burst");
  now += 999;
  assert.equal(await tryTo(10), 0, "not a second yet");
  now += 1;
  assert.equal(await tryTo(10), 1, "one a second");
  now += 3_600_000;
  assert.equal(await tryTo(10), 3, "an hour of silence saves up no more than the burst");
  assert.equal(started, 7, "what is refused is not started");
});

test("C8: what one service starts is not held against another", async () => {
  const programsOf = limitStartsOfEach({ start: async () => running }, { perMinute: 1, burst: 1 });
  const program = { argv: ["/bin/true"] } as const;
  assert.equal(await programsOf("ftpd").start(program), running);
  await assert.rejects(programsOf("ftpd").start(program), TooManyStarts);
  assert.equal(await programsOf("sshd").start(program), running);
});
