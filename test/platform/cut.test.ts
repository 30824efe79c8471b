/** What is cut is told once, and has a signal for those who need one. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Cut } from "../../src/platform/cut.ts";

test("a cut tells its hearers once, with the first reason", () => {
  const cut = new Cut();
  const heard: unknown[] = [];
  cut.hear(() => heard.push(cut.reason));
  cut.abort("kicked");
  cut.abort("drain");
  assert.deepEqual([cut.aborted, cut.reason, heard], [true, "kicked", ["kicked"]]);
});

test("who has stopped hearing hears nothing", () => {
  const cut = new Cut();
  const stop = cut.hear(() => assert.fail("heard"));
  stop();
  stop();
  cut.abort("drain");
});

for (const [when, asked] of [
  ["before", true],
  ["after", false],
] as const)
  test(`a signal that is asked for ${when} the cut is aborted with its reason`, () => {
    const cut = new Cut();
    const early = asked ? cut.signal : undefined;
    cut.abort("drain");
    const { signal } = cut;
    if (early !== undefined) assert.equal(signal, early);
    assert.deepEqual([signal.aborted, signal.reason], [true, "drain"]);
  });
