/** Runs a command of the program inside this process, with streams of its own. */

import { PassThrough } from "node:stream";
import { runCli } from "../../src/cli/cli.ts";

export interface Ran {
  readonly status: number;
  readonly output: string;
  readonly errors: string;
}

export async function runCommand(
  args: readonly string[],
  {
    input = "",
    environment = {},
    ancestors = [],
  }: {
    input?: string;
    environment?: Record<string, string>;
    /** Environments of the processes that have started the program, the nearest first. */
    ancestors?: readonly Record<string, string>[];
  } = {},
): Promise<Ran> {
  const streams = { input: new PassThrough(), output: new PassThrough(), errors: new PassThrough() };
  const texts = { output: "", errors: "" };
  streams.output.on("data", (chunk: Buffer) => (texts.output += chunk.toString()));
  streams.errors.on("data", (chunk: Buffer) => (texts.errors += chunk.toString()));
  streams.input.end(input);
  const status = await runCli({
    arguments: args,
    environment,
    ancestors: () => ancestors.map((each) => new Map(Object.entries(each))),
    ...streams,
  });
  return { status, ...texts };
}
