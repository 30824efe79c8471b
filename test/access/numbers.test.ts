/** Numbers as C reads them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { atoi, wholeInt, wholeOctal, wholeUnsigned } from "../../src/access/numbers.ts";

const rows: [
  text: string,
  atoi: number,
  int: number | undefined,
  unsigned: number | undefined,
  octal: number | undefined,
][] = [
  ["24", 24, 24, 24, 0o24],
  ["+7", 7, 7, 7, 7],
  ["-1", -1, -1, 4294967295, 4294967295],
  [" 8", 8, 8, 8, undefined],
  ["\v\f8", 8, 8, 8, undefined],
  ["8 ", 8, undefined, undefined, undefined],
  ["24abc", 24, undefined, undefined, undefined],
  ["", 0, undefined, undefined, undefined],
  ["abc", 0, undefined, undefined, undefined],
  ["a12", 0, undefined, undefined, undefined],
  ["12-3", 12, undefined, undefined, undefined],
  [" ", 0, undefined, undefined, undefined],
  ["+", 0, undefined, undefined, undefined],
  ["-", 0, undefined, undefined, undefined],
  ["--1", 0, undefined, undefined, undefined],
  ["007", 7, 7, 7, 7],
  ["08", 8, 8, 8, undefined],
  ["777", 777, 777, 777, 0o777],
  ["2147483648", -2147483648, -2147483648, 2147483648, undefined],
  ["4294967304", 8, 8, 8, undefined],
  ["9223372036854775808", -1, -1, 0, undefined],
  ["-9223372036854775809", 0, 0, 4294967295, undefined],
  ["18446744073709551616", -1, -1, 4294967295, undefined],
  ["1".repeat(100), -1, -1, 4294967295, 4294967295],
  ["0".repeat(100) + "5", 5, 5, 5, 5],
];
for (const [text, plain, int, unsigned, octal] of rows) {
  test(`${JSON.stringify(text.length > 30 ? `${text.slice(0, 30)}...` : text)} is read as the C library reads it`, () => {
    assert.equal(atoi(text), plain);
    assert.equal(wholeInt(text), int);
    assert.equal(wholeUnsigned(text), unsigned);
    assert.equal(wholeOctal(text), octal);
  });
}
