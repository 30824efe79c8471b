import assert from "node:assert/strict";
import { test } from "node:test";
import { ClockSteps } from "../../src/platform/clock-steps.ts";

const day = 24 * 60 * 60 * 1000;

for (const stepMs of [day, -day, 100, -100]) {
  test(`a step of the wall clock by ${stepMs} ms counts from the moment in which it is seen`, () => {
    const clock = { wall: 5 * day, steady: 1000 };
    const steps = new ClockSteps(
      () => clock.wall,
      () => clock.steady,
    );
    const pass = (ms: number): void => {
      clock.wall += ms;
      clock.steady += ms;
    };
    pass(500);
    assert.equal(steps.steadyForMs(), Number.POSITIVE_INFINITY);
    clock.wall += stepMs;
    pass(20);
    assert.equal(steps.steadyForMs(), 0);
    pass(700);
    assert.equal(steps.steadyForMs(), 700);
  });
}

test("a clock that is slewed has not been set", () => {
  const clock = { wall: day, steady: 0 };
  const steps = new ClockSteps(
    () => clock.wall,
    () => clock.steady,
  );
  for (let second = 0; second < 1000; second += 1) {
    clock.wall += 1000.5;
    clock.steady += 1000;
    assert.equal(steps.steadyForMs(), Number.POSITIVE_INFINITY);
  }
});
