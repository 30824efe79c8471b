import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { addCounters, createCounters } from "../../src/record/counters.ts";
import { idSource } from "../../src/record/ids.ts";

test("counters add up field by field, and neither of the two changes", () => {
  const one = createCounters();
  one.open = 1;
  one.refused.limit = 2;
  one.ended.drain = 3;
  one.upBytes = 4;
  const other = createCounters();
  other.accepted = 5;
  other.refused.limit = 6;
  const before = structuredClone([one, other]);
  const sum = addCounters(one, other);
  assert.deepEqual(
    [sum.open, sum.accepted, sum.refused.limit, sum.ended.drain, sum.upBytes],
    [1, 5, 8, 3, 4],
  );
  assert.deepEqual([one, other], before);
  assert.deepEqual(addCounters(createCounters(), createCounters()), createCounters());
});

test("K9: ids never repeat and sort by time of accept, however the clock moves", () => {
  const steps = fc.array(fc.integer({ min: -3_600_000, max: 3_600_000 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(steps, (moves) => {
      let ms = 1_700_000_000_000;
      const next = idSource(() => ms, 7);
      const ids = moves.map((move) => {
        ms += move;
        return next();
      });
      return ids.every(
        (id, index) => /^[0-9a-z]{15}$/.test(id) && (index === 0 || id > (ids[index - 1] ?? "")),
      );
    }),
    { numRuns: 300, seed: 1 },
  );
});

test("ids do not repeat within a millisecond that has more connections than counts", () => {
  const next = idSource(() => 1_700_000_000_000, 7);
  const ids = Array.from({ length: 5000 }, next);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(ids.toSorted(), ids);
});

test("two processes of one machine make different ids in the same millisecond", () => {
  assert.notEqual(idSource(() => 1, 1)(), idSource(() => 1, 2)());
});
