/** The manual and the code say the same. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { CODES } from "../../src/access/codes.ts";
import { CHECK_CODES } from "../../src/cli/check-codes.ts";

const root = new URL("../../", import.meta.url);

test("docs/diagnostics.md explains every code, in the words of the code", () => {
  const said = rowsOf("docs/diagnostics.md")
    .filter(([code]) => code?.startsWith("`"))
    .map(([code, severity, meaning]) => [code?.replaceAll("`", ""), severity, meaning]);
  const meant = Object.entries({ ...CODES, ...CHECK_CODES });
  assert.deepEqual(
    said,
    meant.map(([code, { severity, meaning }]) => [code, severity, meaning]),
  );
});

test("no code of the checker is a code of a table too", () => {
  assert.deepEqual(
    Object.keys(CHECK_CODES).filter((code) => Object.hasOwn(CODES, code)),
    [],
  );
});

test("docs/differences.md numbers its differences from 1, and each names a test that is there", () => {
  const rows = rowsOf("docs/differences.md");
  assert.deepEqual(
    rows.map(([number]) => Number(number)),
    rows.map((_, index) => index + 1),
  );
  for (const [number, theirs, ours, path] of rows) {
    assert.ok(theirs && ours, `difference ${number} says what differs`);
    assert.ok(existsSync(new URL(path ?? "", root)), `the test of difference ${number}, ${path}, is there`);
  }
});

test("the replay of the recorded verdicts counts on differences that are listed", () => {
  const replay = readFileSync(new URL("test/tables/vectors.test.ts", root), "utf8");
  const counted = [...replay.matchAll(/\["?[\w`$-]+(?:\$\{id\})?[`"]?, (\d+)\]|=> \[.*, (\d+)\]/g)].map(
    (match) => Number(match[1] ?? match[2]),
  );
  const listed = new Set(rowsOf("docs/differences.md").map(([number]) => Number(number)));
  assert.ok(counted.length > 0);
  for (const number of counted)
    assert.ok(listed.has(number), `difference ${number} is in docs/differences.md`);
});

/** The cells of every table row of a document, head and rule left out. */
function rowsOf(path: string): string[][] {
  const lines = readFileSync(new URL(path, root), "utf8").split("\n");
  const rows = lines
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .split("|")
        .map((cell) => cell.trim())
        .slice(1, -1),
    );
  return rows.slice(2);
}
