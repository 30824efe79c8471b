/** The service manager hears of us for as long as every worker answers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { feedWatchdog } from "../../src/cli/watchdog.ts";

test("the watchdog is fed three times in the manager's time, while the workers answer, and not while one is silent", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const asked: number[] = [];
  let fed = 0;
  let answer = (_isGood: boolean): void => undefined;
  const answers = (withinMs: number): Promise<boolean> => {
    asked.push(withinMs);
    return new Promise((resolve) => {
      answer = resolve;
    });
  };
  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const timer = feedWatchdog({ watchdogMs: 3000, watchdog: () => (fed += 1) }, { answers });
  t.after(() => clearInterval(timer));
  assert.deepEqual(asked, [1000]);
  answer(true);
  await settled();
  assert.equal(fed, 1);
  t.mock.timers.tick(1000);
  assert.equal(asked.length, 2);
  t.mock.timers.tick(5000);
  assert.equal(asked.length, 2, "no second question before the first is answered");
  assert.equal(fed, 1);
  answer(false);
  await settled();
  assert.equal(fed, 1, "a missing worker is no answer");
  t.mock.timers.tick(1000);
  answer(true);
  await settled();
  assert.equal(fed, 2);
});
