/**
 * A test runner for Stryker that runs the tests in its own process: a mutant costs what its tests cost, not a new Node.
 *
 * The files of tests are imported once, with `collector.ts` in the place of `node:test`. A test is called again for every
 * mutant that it covers, those of the file named after the mutant's first, until one fails. What a loop without end does not
 * end by the limit of hits, Stryker ends with the process. Source: https://stryker-mutator.io/docs/ "TestRunner".
 */
import { register } from "node:module";
import { basename, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import type { MutantCoverage } from "@stryker-mutator/api/core";
import { declareFactoryPlugin, PluginKind } from "@stryker-mutator/api/plugin";
import {
  determineHitLimitReached,
  DryRunStatus,
  type DryRunOptions,
  type DryRunResult,
  type MutantRunOptions,
  type MutantRunResult,
  MutantRunStatus,
  type TestResult,
  type TestRunner,
  type TestRunnerCapabilities,
  TestStatus,
} from "@stryker-mutator/api/test-runner";
import { type Collected, takeCollected } from "./collector.ts";

/** What the code of a mutant looks at. */
interface Instrument {
  activeMutant?: string | undefined;
  currentTestId?: string | undefined;
  hitCount?: number | undefined;
  hitLimit?: number | undefined;
  mutantCoverage?: MutantCoverage;
  /** Our own: whether what is covered counts. */
  isCounting?: boolean;
}

/** Parts the file of a test from its name. */
const IN = " > ";

/** Stryker allows each mutant a hundred times the hits of a run without mutants; a loop of so many would take minutes. */
const HITS_LESS = 50;
const HITS_ALWAYS = 1_000_000;

export const strykerPlugins = [
  declareFactoryPlugin(PluginKind.TestRunner, "in-process", () => new InProcessRunner()),
];

class InProcessRunner implements TestRunner {
  private readonly tests = new Map<string, Collected>();
  private readonly loaded = new Set<string>();
  /** How long a test took when it last passed. */
  private readonly lastMs = new Map<string, number>();

  /** A mutant in code that runs while files load needs a process of its own. */
  capabilities(): TestRunnerCapabilities {
    return { reloadEnvironment: false };
  }

  async init(): Promise<void> {
    const collector = JSON.stringify(new URL("collector.ts", import.meta.url).href);
    // Counting what each statement covers is more than half of the time of a test, and needed once only.
    const hooks = `
      export const resolve = (name, context, next) =>
        name === "node:test" ? { url: ${collector}, shortCircuit: true } : next(name, context);
      export async function load(url, context, next) {
        const loaded = await next(url, context);
        if (!url.includes("/src/")) return loaded;
        const counts = /function stryCov_\\w+\\(\\)\\s*{/;
        const source = String(loaded.source).replace(counts, "$& if (!globalThis.__stryker__.isCounting) return;");
        return { ...loaded, source };
      }`;
    register(`data:text/javascript,${encodeURIComponent(hooks)}`);
  }

  async dryRun({ testFiles = [] }: DryRunOptions): Promise<DryRunResult> {
    instrument().isCounting = true;
    const files = testFiles.map((file) => relative(process.cwd(), file));
    for (const file of files) await this.load(file);
    const tests: TestResult[] = [];
    for (const id of this.tests.keys()) tests.push(await this.run(id));
    instrument().isCounting = false;
    const { mutantCoverage } = instrument();
    return { status: DryRunStatus.Complete, tests, ...(mutantCoverage && { mutantCoverage }) };
  }

  async mutantRun(options: MutantRunOptions): Promise<MutantRunResult> {
    const { activeMutant, testFilter = [], hitLimit } = options;
    const mutated = instrument();
    // Before the files are loaded: Stryker gives a mutant in code that runs then a process of its own.
    mutated.activeMutant = activeMutant.id;
    const ids = await this.chosen(testFilter);
    const subject = basename(activeMutant.fileName, ".ts");
    const rank = (id: string): number =>
      (id.includes(`/${subject}.test.ts${IN}`) ? 0 : 1e6) + (this.lastMs.get(id) ?? 0);
    ids.sort((one, other) => rank(one) - rank(other));

    mutated.hitLimit = hitLimit === undefined ? undefined : Math.ceil(hitLimit / HITS_LESS) + HITS_ALWAYS;
    mutated.hitCount = hitLimit === undefined ? undefined : 0;
    try {
      for (const [index, id] of ids.entries()) {
        const result = await this.run(id);
        const tooMany = determineHitLimitReached(mutated.hitCount, mutated.hitLimit);
        if (tooMany) return { status: MutantRunStatus.Timeout, reason: tooMany.reason ?? "" };
        if (result.status !== TestStatus.Failed) continue;
        const { failureMessage } = result;
        return { status: MutantRunStatus.Killed, killedBy: [id], failureMessage, nrOfTests: index + 1 };
      }
      return { status: MutantRunStatus.Survived, nrOfTests: ids.length };
    } finally {
      mutated.activeMutant = undefined;
    }
  }

  /** The tests of a filter: by their ids, or all those of a file. */
  private async chosen(filter: readonly string[]): Promise<string[]> {
    const ids: string[] = [];
    for (const entry of filter) {
      const end = entry.indexOf(IN);
      const file = relative(process.cwd(), end < 0 ? entry : entry.slice(0, end));
      await this.load(file);
      if (end < 0) ids.push(...[...this.tests.keys()].filter((id) => id.startsWith(file + IN)));
      else ids.push(entry);
    }
    return ids;
  }

  private async load(file: string): Promise<void> {
    if (this.loaded.has(file)) return;
    this.loaded.add(file);
    await import(pathToFileURL(join(process.cwd(), file)).href);
    const tests = takeCollected();
    if (tests.length === 0) throw new Error(`${file} holds no test`);
    for (const [index, test] of tests.entries()) {
      const id = file + IN + test.name;
      this.tests.set(this.tests.has(id) ? `${id} #${index}` : id, test);
    }
  }

  private async run(id: string): Promise<TestResult> {
    const test = this.tests.get(id);
    if (test === undefined) throw new Error(`there is no test "${id}"`);
    const file = join(process.cwd(), id.slice(0, id.indexOf(IN)));
    instrument().currentTestId = id;
    const start = performance.now();
    const common = (): { id: string; name: string; fileName: string; timeSpentMs: number } => ({
      id,
      name: id,
      fileName: file,
      timeSpentMs: Math.round(performance.now() - start),
    });
    try {
      await test.run();
      this.lastMs.set(id, performance.now() - start);
      return { ...common(), status: TestStatus.Success };
    } catch (cause) {
      const failureMessage = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
      return { ...common(), status: TestStatus.Failed, failureMessage };
    } finally {
      instrument().currentTestId = undefined;
    }
  }
}

function instrument(): Instrument {
  const world = globalThis as { __stryker__?: Instrument };
  return (world.__stryker__ ??= {});
}
