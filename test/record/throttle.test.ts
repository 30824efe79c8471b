import assert from "node:assert/strict";
import { test } from "node:test";

import { Throttle } from "../../src/record/throttle.ts";

test("the first complaints of a period pass, the first one of a later period says how many were left out", () => {
  let now = 0;
  const throttle = new Throttle({ perPeriod: 2, periodMs: 1000, now: () => now });
  assert.deepEqual(
    ["a", "b", "c", "d"].map((message) => throttle.admit(message)),
    ["a", "b", undefined, undefined],
  );
  now = 999;
  assert.equal(throttle.admit("e"), undefined);
  now = 1000;
  assert.equal(throttle.admit("f"), "f (and 3 more of the kind before it, left out)");
  now = 5000;
  assert.equal(throttle.admit("g"), "g");
});
