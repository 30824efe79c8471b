/** When the session of a backend that has ended is given up, sweep by sweep. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { HalfClosedWatch } from "../../src/relay/half-closed.ts";

const rows: [limitMs: number, movedUp: number[], sweeps: number, because: string][] = [
  [3000, [7], 4, "the first sweep sees where it begins"],
  [2500, [7], 4, "a part of a second counts as a whole one"],
  [3000, [7, 7, 8], 6, "a byte begins it anew"],
  [3000, [7, 8, 9, 10, 11], 8, "every other byte does too"],
  [1, [0], 2, "nothing has moved at all"],
];

for (const [limitMs, movedUp, sweeps, because] of rows) {
  test(`D1: a limit of ${limitMs} ms and ${movedUp.join(", ")} bytes: over after ${sweeps} sweeps, since ${because}`, () => {
    let at = 0;
    let expired = 0;
    const watch = new HalfClosedWatch(limitMs, {
      movedUp: () => movedUp[at++] ?? movedUp.at(-1) ?? 0,
      expired: () => (expired += 1),
    });
    for (let sweep = 1; sweep < sweeps; sweep += 1) watch.sweep();
    assert.equal(expired, 0);
    watch.sweep();
    assert.equal(expired, 1);
    watch.close();
  });
}
