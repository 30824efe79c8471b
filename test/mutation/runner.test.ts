/** The test runner of the mutation tests: what it tells Stryker of tests that pass, fail, and go round in circles. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { test } from "node:test";
import {
  DryRunStatus,
  MutantRunStatus,
  type TestResult,
  type TestRunner,
  TestStatus,
} from "@stryker-mutator/api/test-runner";
import { scratchFolder } from "../support/scratch.ts";
import { takeCollected } from "./collector.ts";
import { strykerPlugins } from "./runner.ts";

/** What Stryker makes of `(left, right) => left < right`, and tests of it. */
const subject = `
const world = globalThis.__stryker__ ??= {};
function isActive(id) {
  if (world.activeMutant !== id) return false;
  if (world.hitCount !== undefined && ++world.hitCount > world.hitLimit) throw new Error("hit limit");
  return true;
}
function cover(id) {
  const coverage = world.mutantCoverage ??= { static: {}, perTest: {} };
  const of = world.currentTestId ? (coverage.perTest[world.currentTestId] ??= {}) : coverage.static;
  of[id] = (of[id] ?? 0) + 1;
}
export function isLess(left, right) {
  cover("1"), cover("2");
  while (isActive("2"));
  return isActive("1") ? left <= right : left < right;
}
`;
const passing = `
import { test } from "node:test";
import { isLess } from "./subject.mjs";
const world = globalThis;
test("equal numbers", () => { if (isLess(1, 1)) throw new Error("1 is less than 1"); });
test("numbers > others", { timeout: 9 }, async (t) => { t.diagnostic(""); t.after(() => world.cleaned = true); if (!isLess(1, 2)) throw new Error(); });
test("numbers > others", () => {});
`;

const world = globalThis as { __stryker__?: object };
// The hook of one is enough for all.
await newRunner().init?.();

test("a run without mutants names every test, and which mutants it covers", async (t) => {
  const { id, dryRun } = await project(t, passing);
  const names = ["equal numbers", "numbers > others", "numbers > others #2"].map(id);
  assert.deepEqual(
    (await dryRun()).map(({ id, status }) => [id, status]),
    names.map((name) => [name, TestStatus.Success]),
  );
  const perTest = Object.fromEntries(names.slice(0, 2).map((name) => [name, { 1: 1, 2: 1 }]));
  assert.deepEqual(world.__stryker__, {
    mutantCoverage: { static: {}, perTest },
    currentTestId: undefined,
    isCounting: false,
  });
});

test("a test that fails without mutants is told as failed", async (t) => {
  const { dryRun } = await project(t, passing.replace("isLess(1, 1)", "!isLess(1, 1)"));
  assert.deepEqual(
    (await dryRun()).map(({ status }) => status),
    [TestStatus.Failed, TestStatus.Success, TestStatus.Success],
  );
});

test("a file without tests, or that does not load, ends the run", async (t) => {
  for (const text of ["", "import './nothing.mjs';"]) {
    const { dryRun } = await project(t, text);
    await assert.rejects(dryRun());
  }
});

test("a mutant is killed by the test that sees it, survives the others, and is gone afterwards", async (t) => {
  const { id, mutantRun, dryRun } = await project(t, passing);
  const killed = await mutantRun("1", [id("numbers > others"), id("equal numbers")]);
  assert.ok(killed.status === MutantRunStatus.Killed);
  assert.deepEqual(killed.killedBy, [id("equal numbers")]);
  assert.match(killed.failureMessage, /1 is less than 1/);
  const survived = await mutantRun("1", [id("numbers > others")]);
  assert.deepEqual(survived, { status: MutantRunStatus.Survived, nrOfTests: 1 });
  assert.ok((await dryRun()).every(({ status }) => status === TestStatus.Success));
});

test("a mutant in code that runs while files load meets every test of them", async (t) => {
  const text = `${passing}const isWrong = isLess(1, 1);\ntest("last", () => { if (isWrong) throw new Error(); });\n`;
  for (const tests of [text, text.replace("isLess(1, 1)) throw", "false) throw")]) {
    const { id, mutantRun, file } = await project(t, tests);
    const killed = await mutantRun("1", [file]);
    assert.ok(killed.status === MutantRunStatus.Killed);
    assert.deepEqual(killed.killedBy, [id(tests === text ? "equal numbers" : "last")]);
  }
  const { mutantRun, file } = await project(t, text);
  assert.deepEqual(await mutantRun("9", [file]), { status: MutantRunStatus.Survived, nrOfTests: 4 });
});

test("a mutant that loops for ever has timed out at the limit of hits", async (t) => {
  const { id, mutantRun } = await project(t, passing);
  assert.equal((await mutantRun("2", [id("equal numbers")])).status, MutantRunStatus.Timeout);
});

test("what a test is to clean up is cleaned up", async (t) => {
  const { dryRun } = await project(t, passing);
  await dryRun();
  assert.equal((globalThis as { cleaned?: boolean }).cleaned, true);
});

test("the tests that mutants meet ask no more of their context than they have here", async () => {
  const { testFiles } = JSON.parse(readFileSync("test/mutation/stryker.config.json", "utf8")) as {
    readonly testFiles: readonly string[];
  };
  const files = testFiles.flatMap(filesOf);
  assert.ok(files.length > 20);
  let asking = 0;
  for (const file of files) {
    await import(join(process.cwd(), file));
    for (const each of takeCollected().filter(({ usesContext }) => usesContext)) {
      // One that counts what the others of its file have found may fail by itself, but not for want of a method.
      await each.run().catch((cause: unknown) => assert.ok(!(cause instanceof TypeError), String(cause)));
      asking += 1;
    }
  }
  assert.ok(asking > 0);
});

/** Of a name, or of all the tests in a folder but those in "!(...)". */
function filesOf(pattern: string): string[] {
  if (existsSync(pattern)) return [pattern];
  const [, left = ""] = /^!\((.*)\)\.test\.ts$/.exec(basename(pattern)) ?? assert.fail(pattern);
  const folder = dirname(pattern);
  return readdirSync(folder)
    .filter(
      (name) => name.endsWith(".test.ts") && !left.split("|").includes(name.slice(0, -".test.ts".length)),
    )
    .map((name) => join(folder, name));
}

async function project(t: Parameters<typeof scratchFolder>[0], tests: string) {
  const folder = scratchFolder(t);
  const file = join(folder, "subject.test.ts");
  writeFileSync(join(folder, "package.json"), '{"type": "module"}');
  writeFileSync(join(folder, "subject.mjs"), subject);
  writeFileSync(file, tests);
  const common = { timeout: 5000, disableBail: false } as const;
  delete world.__stryker__;
  const runner = newRunner();
  return {
    file,
    id: (name: string): string => `${relative(process.cwd(), file)} > ${name}`,
    dryRun: async (): Promise<TestResult[]> => {
      const result = await runner.dryRun({ ...common, coverageAnalysis: "perTest", testFiles: [file] });
      return result.status === DryRunStatus.Complete ? result.tests : assert.fail(result.status);
    },
    mutantRun: (id: string, testFilter: string[]) =>
      runner.mutantRun({
        ...common,
        activeMutant: {
          id,
          fileName: "src/subject.ts",
          location: { start: { line: 1, column: 0 }, end: { line: 1, column: 1 } },
          mutatorName: "EqualityOperator",
          replacement: "left <= right",
        },
        hitLimit: 100,
        mutantActivation: "runtime",
        reloadEnvironment: false,
        sandboxFileName: "",
        testFilter,
      }),
  };
}

function newRunner(): TestRunner {
  return strykerPlugins[0]?.factory() ?? assert.fail("there is no runner");
}
