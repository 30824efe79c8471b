/** Flat arrays that grow: the same numbers as in an ordinary array. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Bytes, Numbers } from "../../src/access/growing.ts";

test("numbers come back in their order, however often the array had to grow", () => {
  for (const capacity of [undefined, 1, 64, 256]) {
    const numbers = new Numbers(capacity);
    for (let value = 0; value < 1000; value++) {
      assert.equal(numbers.length, value);
      numbers.push(0xffffffff - value);
    }
    const expected = Array.from({ length: 1000 }, (_, value) => 0xffffffff - value);
    assert.deepEqual([...numbers.view()], expected);
    assert.deepEqual([...numbers.toArray()], expected);
    assert.deepEqual([numbers.at(0), numbers.at(999)], [0xffffffff, 0xffffffff - 999]);
  }
});

test("what was never there is 0", () => {
  assert.equal(new Numbers().at(5000), 0);
});

test("a number may be changed, and lowered to a smaller one only", () => {
  const numbers = new Numbers();
  for (const value of [5, 5, 5, 5]) numbers.push(value);
  numbers.set(0, 9);
  numbers.lowerTo(1, 4);
  numbers.lowerTo(2, 6);
  numbers.lowerTo(3, 5);
  assert.deepEqual([...numbers.toArray()], [9, 4, 5, 5]);
});

test("an array that was cut goes on from there", () => {
  const numbers = new Numbers();
  for (const value of [1, 2, 3]) numbers.push(value);
  numbers.length = 1;
  numbers.push(4);
  assert.deepEqual([...numbers.view()], [1, 4]);
});

test("an array of its own does not change any more, a view does", () => {
  const numbers = new Numbers();
  numbers.push(1);
  const own = numbers.toArray();
  const view = numbers.view();
  numbers.set(0, 2);
  assert.deepEqual([own[0], view[0]], [1, 2]);
  assert.equal(own.buffer.byteLength, 4, "and holds no room that nobody uses");
});

test("bytes come back in their order, however often the array had to grow", () => {
  const bytes = new Bytes();
  for (let at = 0; at < 5000; at++) {
    assert.equal(bytes.length, at);
    bytes.push(at % 251);
  }
  const own = bytes.toArray();
  assert.deepEqual(
    [...own],
    Array.from({ length: 5000 }, (_, at) => at % 251),
  );
  bytes.push(7);
  assert.equal(own.length, 5000);
});
