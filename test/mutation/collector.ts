/** Stands for `node:test` while mutants are tested: keeps the tests of a file instead of running them. */

/** What a test may ask of its context here. */
interface Context {
  diagnostic(message: string): void;
  /** Is done when the test is over, however it ends. */
  after(clean: () => unknown): void;
}

type Body = (context: Context) => unknown;

/** A test of a file. */
export interface Collected {
  readonly name: string;
  /** Whether it asks for its context, which has less here. */
  readonly usesContext: boolean;
  /** Rejects if the test fails. */
  run(): Promise<void>;
}

let collected: Collected[] = [];

/** Takes the place of `test` in `node:test`. */
export function test(name: string, ...rest: [Body] | [options: object, Body]): void {
  const body = rest[1] ?? rest[0];
  if (typeof body !== "function") throw new TypeError(`"${name}" has no body`);
  collected.push({ name, usesContext: body.length > 0, run: () => run(body as Body) });
}

async function run(body: Body): Promise<void> {
  const cleaners: (() => unknown)[] = [];
  try {
    await body({ diagnostic: () => {}, after: (clean) => cleaners.push(clean) });
  } finally {
    for (const clean of cleaners) await clean();
  }
}

/** The tests since it was last called. */
export function takeCollected(): readonly Collected[] {
  const taken = collected;
  collected = [];
  return taken;
}
