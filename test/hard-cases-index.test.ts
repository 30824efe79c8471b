/**
 * The hard cases that have to have a test: each id begins the name of one. By letter: C what the backend learns of the client,
 * D the bytes, E refusals, G tables and reload, H backends, J the life of the process, L its own safety.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

/** How many each letter has. */
const counts = { C: 8, D: 17, E: 6, G: 14, H: 12, J: 12, L: 8 };

/** They are about databases of places and signed tables, which there are none of. */
const notOurs = ["L6", "L7"];

const here = fileURLToPath(new URL(".", import.meta.url));
const testFiles = readdirSync(here, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".test.ts"))
  .map((name) => readFileSync(here + name, "utf8"));

/** "D9: a client ..." and "I7, E3: with ..." as a test begins, or a row of a table whose text the test's name begins with. */
const beginning = /(?<=["'`])[A-Z]\d{1,2}(?:, [A-Z]\d{1,2})*(?=: )/g;
const begun = new Set(
  testFiles.flatMap((text) => (text.match(beginning) ?? []).flatMap((ids) => ids.split(", "))),
);

for (const [letter, count] of Object.entries(counts))
  test(`every hard case of ${letter} begins the name of a test`, () => {
    const ids = Array.from({ length: count }, (_, index) => `${letter}${index + 1}`);
    assert.deepEqual(
      ids.filter((id) => !begun.has(id) && !notOurs.includes(id)),
      [],
    );
  });
