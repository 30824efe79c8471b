import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { startDeadline } from "../../src/platform/deadline.ts";

test("a deadline fires though the garbage is collected meanwhile and nobody else holds it", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const fired = new Promise<void>((resolve) => {
    startDeadline(50, new AbortController().signal).signal.addEventListener("abort", () => resolve());
  });
  for (let round = 0; round < 5; round += 1) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await fired;
});

test("a deadline ends with its outer signal, and with its reason", () => {
  const outer = new AbortController();
  const { signal, clear } = startDeadline(60_000, outer.signal);
  outer.abort("kicked");
  assert.equal(signal.reason, "kicked");
  clear();
  const late = startDeadline(60_000, outer.signal);
  assert.ok(late.signal.aborted, "one that is over already counts too");
  late.clear();
});

test("a deadline that is cleared does not fire", async () => {
  const { signal, clear } = startDeadline(10, new AbortController().signal);
  clear();
  await new Promise((resolve) => setTimeout(resolve, 40));
  assert.equal(signal.aborted, false);
});
