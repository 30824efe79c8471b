/** Both tables change, one after the other: which pairs of them a decision may see. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { tablesBed, verdictOf } from "../support/live-tables.ts";

/*
 * Nothing tells us that two changes belong together, and the third invariant lets none of them wait for another one. What is promised
 * instead: the tables of a generation were the files' content at one moment; and while one of the files is being written, no decision is
 * made by the other one's new content either.
 */

/** Puts one text after another in the place of two tables, the allow table first; each has as many lines as its number says. */
const pairWriter = `
  const { linkSync, renameSync, writeFileSync } = require("node:fs");
  const [allow, deny, texts, forMs] = process.argv.slice(1);
  const put = (file, number) => {
    linkSync(file + number, file + ".new");
    renameSync(file + ".new", file);
  };
  for (const file of [allow, deny])
    for (let number = 1; number <= texts; number++) writeFileSync(file + number, "ftpd: ALL\\n".repeat(number));
  const until = performance.now() + Number(forMs);
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (let number = 1; performance.now() < until; number = (number % texts) + 1) {
    put(allow, number);
    put(deny, number);
    Atomics.wait(clock, 0, 0, number % 3); // milliseconds: time to read both
  }
`;

test("G6: whoever changes both tables all the time, no decision sees a pair that never was", async (t) => {
  const texts = 40;
  const line = "ftpd: ALL\n";
  const { allow, deny, live } = await tablesBed(t, { allow: line.repeat(texts), deny: line.repeat(texts) });
  const writer = spawn(process.execPath, ["-e", pairWriter, allow, deny, String(texts), "2000"]);
  let isWriting = true;
  const ended = once(writer, "exit").finally(() => (isWriting = false));
  const seen = new Map<number, number>();
  while (isWriting) {
    const generation = live.fresh();
    if (generation !== undefined) {
      const { allowRules, denyRules } = generation;
      const ahead = (allowRules - denyRules + texts) % texts;
      seen.set(ahead, (seen.get(ahead) ?? 0) + 1);
    }
    await turn();
  }
  assert.deepEqual(await ended, [0, null]);
  t.diagnostic(
    `the allow table was ahead by: ${[...seen].map(([ahead, times]) => `${ahead} ${times} times`).join(", ")}`,
  );
  // The deny table of a pair is replaced after the allow table.
  assert.deepEqual(
    [...seen.keys()].filter((ahead) => ahead > 1),
    [],
  );
});

test("G6: while the second of two tables is half written, no decision is made by the first one's new content", async (t) => {
  const { allow, deny, live, changes } = await tablesBed(t, {
    allow: "sshd: 192.0.2.7\n",
    deny: "ALL: ALL\n",
  });
  assert.equal(await verdictOf(live, "192.0.2.8"), "refuse");
  truncateSync(deny);
  writeFileSync(`${allow}.new`, "sshd: 192.0.2.8\n");
  renameSync(`${allow}.new`, allow);
  const decision = verdictOf(live, "192.0.2.8");
  const other = verdictOf(live, "192.0.2.7");
  await turn();
  assert.equal(changes.length, 1, "nobody has been judged yet");
  appendFileSync(deny, "ALL: 192.0.2.7\n");
  assert.deepEqual(await Promise.all([decision, other]), ["allow", "refuse"]);
  assert.equal(changes.length, 2, "both came into force as one generation");
});

test("G6: two tables that are both changed before a connection comes are one generation", async (t) => {
  const { allow, deny, live, changes } = await tablesBed(t);
  for (const round of [1, 2, 3]) {
    for (const [file, text] of [
      [allow, `sshd: 192.0.2.${round}\n`],
      [deny, `ALL: ALL\n# ${round}\n`],
    ] as const) {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    }
    assert.equal(await verdictOf(live, `192.0.2.${round}`), "allow");
    assert.equal(await verdictOf(live, `192.0.2.${round + 1}`), "refuse");
    assert.equal(changes.length, round + 1);
  }
});
