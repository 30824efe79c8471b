import assert from "node:assert/strict";
import { test } from "node:test";

import { withMoreTime } from "../../src/platform/more-time.ts";

test("the service manager is asked for more time at once, again before that is over, and not once the work is done", async (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const asked: number[] = [];
  let finish = (): void => undefined;
  const work = new Promise<void>((resolve) => (finish = resolve));
  const waiting = withMoreTime({ extendTimeout: (ms) => void asked.push(ms) }, work);
  const [extensionMs = 0] = asked;
  assert.ok(extensionMs > 0);
  context.mock.timers.tick(extensionMs * 10);
  assert.ok(asked.length > 20, `${asked.length} times in the time of ten`);
  finish();
  await waiting;
  const { length } = asked;
  context.mock.timers.tick(extensionMs * 10);
  assert.equal(asked.length, length);
});

test("work that fails is not asked for any more, and its error is passed on", async (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const asked: number[] = [];
  const failed = withMoreTime(
    { extendTimeout: (ms) => void asked.push(ms) },
    Promise.reject(new Error("why")),
  );
  await assert.rejects(failed, /why/);
  context.mock.timers.tick(1_000_000);
  assert.equal(asked.length, 1);
});
