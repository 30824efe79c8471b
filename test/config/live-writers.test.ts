/** Programs that write a table as they do in life, again and again: editors, and fail2ban. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, copyFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { tablesBed, verdictOf } from "../support/live-tables.ts";

/** How a program puts a new text in the place of a file; done over and over, on what the time before has left. */
const writers: [who: string, write: (file: string, text: string) => void][] = [
  [
    "a rename over the file",
    (file, text) => {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    },
  ],
  [
    "an editor that moves the old file away and writes a new one (vim, backupcopy=no)",
    (file, text) => {
      renameSync(file, `${file}~`);
      writeFileSync(file, text);
      unlinkSync(`${file}~`);
    },
  ],
  [
    "an editor that copies the old file and writes over it (vim, backupcopy=yes)",
    (file, text) => {
      copyFileSync(file, `${file}~`);
      writeFileSync(file, text);
      unlinkSync(`${file}~`);
    },
  ],
  [
    "an editor that keeps its back-up (emacs)",
    (file, text) => {
      renameSync(file, `${file}~`);
      writeFileSync(file, text);
    },
  ],
  [
    "an editor that writes beside it and swaps (nano, joe)",
    (file, text) => {
      writeFileSync(`${file}.swp`, text);
      unlinkSync(file);
      renameSync(`${file}.swp`, file);
    },
  ],
  ["sed -i", (file, text) => execFileSync("sed", ["-i", `1c ${text.trim()}`, file])],
];

for (const [who, write] of writers) {
  test(`G2: by ${who}, the first change, the second and the third are all noticed`, async (t) => {
    const { deny, live } = await tablesBed(t);
    for (const round of [1, 2, 3]) {
      write(deny, `ALL: 192.0.2.${round}\n`);
      assert.equal(await verdictOf(live, `192.0.2.${round}`), "refuse", `change ${round} counts`);
      assert.equal(await verdictOf(live, `192.0.2.${round - 1}`), "allow", `and ${round - 1} no longer`);
    }
  });

  test(`G2: by ${who}, the first change, the second and the third are noticed where no connection comes`, async (t) => {
    const { deny, live, changes } = await tablesBed(t);
    for (const round of [1, 2, 3]) {
      write(deny, `ALL: 192.0.2.${round}\n`);
      for (let tries = 0; live.current.number <= round && tries < 1000; tries += 1) await pause(10);
      assert.equal(live.current.number, round + 1);
    }
    assert.equal(changes.length, 4, "one generation each");
  });
}

/*
 * hard-cases say "at most two loads a second". For small tables the design's third invariant is stronger: the first connection after a
 * completed append is judged by it. So there are at most as many loads as changes where somebody asks after each of them, and two a
 * second where nobody does; for large tables, which load beside the decisions, two a second in any case.
 */

/** As fail2ban's hostsdeny.conf: a ban is a line at the end, the end of a ban is sed -i. */
const ban = (file: string, number: number): void => appendFileSync(file, `ALL: 192.0.2.${number}\n`);
const unban = (file: string, number: number): unknown =>
  execFileSync("sed", ["-i", `/^ALL: 192\\.0\\.2\\.${number}$/d`, file]);

/** Bans 1 to 100, fifty a second, and ends the ban of each fifth one five bans later. */
async function banAndUnban(file: string, afterEach: (number: number) => Promise<void> | void): Promise<void> {
  const startedAt = performance.now();
  for (let number = 1; number <= bans; number += 1) {
    ban(file, number);
    if (number % 10 === 0) unban(file, number - 5);
    await afterEach(number);
    await pause(Math.max(0, startedAt + number * 20 - performance.now()));
  }
}
const bans = 100;
const isBanned = (number: number): boolean => number % 10 !== 5;
const changesMade = bans + bans / 10;

test("G4: of bans fifty a second, each counts for the next connection, none is lost, and there is one load for a change at most", async (t) => {
  const { deny, live, changes } = await tablesBed(t);
  await banAndUnban(deny, async (number) => {
    assert.equal(await verdictOf(live, `192.0.2.${number}`), "refuse", `${number} at once`);
    if (number % 10 === 0) assert.equal(await verdictOf(live, `192.0.2.${number - 5}`), "allow");
  });
  for (let number = 1; number <= bans; number += 1)
    assert.equal(
      await verdictOf(live, `192.0.2.${number}`),
      isBanned(number) ? "refuse" : "allow",
      String(number),
    );
  t.diagnostic(`${changesMade} changes, ${changes.length - 1} loads`);
  assert.ok(changes.length - 1 <= changesMade, `${changes.length - 1} loads`);
});

test("G4: of bans fifty a second where no connection comes, none is lost, and there are two loads a second at most", async (t) => {
  const { deny, live, changes } = await tablesBed(t);
  const startedAt = performance.now();
  await banAndUnban(deny, () => undefined);
  for (let number = 1; number <= bans; number += 1)
    assert.equal(
      await verdictOf(live, `192.0.2.${number}`),
      isBanned(number) ? "refuse" : "allow",
      String(number),
    );
  const seconds = (performance.now() - startedAt) / 1000;
  t.diagnostic(`${changesMade} changes in ${seconds.toFixed(1)} s, ${changes.length - 1} loads`);
  // A look that comes in the middle of the poll's period is the one more that the verdicts at the end cause.
  assert.ok(changes.length - 1 <= 2 * seconds + 2, `${changes.length - 1} loads`);
});

test("G4: of bans fifty a second in a large table, none is lost, and there are two loads a second at most", async (t) => {
  const large = Array.from(
    { length: 40_000 },
    (_, index) => `ALL: 10.${index >> 16}.${(index >> 8) & 255}.${index & 255}\n`,
  );
  const { deny, live, changes } = await tablesBed(t, { deny: large.join("") });
  const startedAt = performance.now();
  await banAndUnban(deny, () => void live.fresh());
  for (let tries = 0; tries < 500 && live.current.denyRules !== 40_000 + bans - bans / 10; tries += 1) {
    live.fresh();
    await pause(20);
  }
  const seconds = (performance.now() - startedAt) / 1000;
  t.diagnostic(`${changesMade} changes in ${seconds.toFixed(1)} s, ${changes.length - 1} loads`);
  for (let number = 1; number <= bans; number += 1)
    assert.equal(
      await verdictOf(live, `192.0.2.${number}`),
      isBanned(number) ? "refuse" : "allow",
      String(number),
    );
  assert.ok(changes.length - 1 <= 2 * seconds + 1, `${changes.length - 1} loads`);
});
