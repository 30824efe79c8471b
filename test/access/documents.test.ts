/** The manual and the code say the same. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { CODES } from "../../src/access/codes.ts";
import { CHECK_CODES } from "../../src/cli/check-codes.ts";

const root = new URL("../../", import.meta.url);
const VECTORS = "test/tables/vectors.test.ts";

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

const differences = rowsOf("docs/differences.md").map(([number, theirs, ours, test]) => ({
  number: Number(number),
  theirs,
  ours,
  test: test ?? "",
}));

test("docs/differences.md numbers its differences from 1, and says both sides", () => {
  assert.ok(differences.length > 0);
  for (const [index, { number, theirs, ours }] of differences.entries()) {
    assert.equal(number, index + 1);
    assert.ok(theirs && ours, `difference ${number} says what differs`);
  }
});

test("each difference is marked in the code where it is made, and no other is", () => {
  const marked = sourcesIn("src").flatMap((path) => numbersIn(readText(path), /difference (\d+)/gi));
  assert.deepEqual(unique(marked), unique(differences.map(({ number }) => number)));
});

test("each difference has a test of its number in the file that the manual names, and no test has another", () => {
  for (const { number, test } of differences) {
    const tested = test === VECTORS ? declaredByVectors() : numbersIn(readText(test), /difference (\d+): /g);
    assert.ok(tested.includes(number), `a test of difference ${number} is in ${test}`);
  }
  const tested = sourcesIn("test").flatMap((path) => numbersIn(readText(path), /difference (\d+): /g));
  for (const number of [...tested, ...declaredByVectors()])
    assert.ok(
      differences.some((difference) => difference.number === number),
      `difference ${number} is in docs/differences.md`,
    );
});

/** The numbers that the replay of the recorded verdicts counts on. */
function declaredByVectors(): number[] {
  return unique(numbersIn(readText(VECTORS), /(?:\["?[\w`$-]+(?:\$\{id\})?[`"]?|=> \[.*), (\d+)\]/g));
}

function numbersIn(text: string, number: RegExp): number[] {
  return [...text.matchAll(number)].map((match) => Number(match[1]));
}

function unique(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].toSorted((one, other) => one - other);
}

function sourcesIn(folder: string): string[] {
  const paths = readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" });
  return paths.filter((path) => path.endsWith(".ts")).map((path) => `${folder}/${path}`);
}

function readText(path: string): string {
  return readFileSync(new URL(path, root), "utf8");
}

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
