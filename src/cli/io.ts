/** What a command may touch of the process: its arguments and streams. */

import type { Readable, Writable } from "node:stream";
import type { Argv } from "yargs";
import type { Environment } from "./settings.ts";

export interface Io {
  readonly arguments: readonly string[];
  readonly environment: Environment;
  /** The environments of the processes that have started this one, the nearest first. Absent = nobody knows them. */
  readonly ancestors?: () => Iterable<ReadonlyMap<string, string>>;
  readonly input: Readable;
  readonly output: Writable & { readonly isTTY?: boolean };
  readonly errors: Writable;
}

/** Adds a command to the parser; `exit` takes the status that the program shall end with. */
export type AddCommand = (parser: Argv, io: Io, exit: (status: number) => void) => unknown;

/** Wrong flags or arguments; its message is one line for the user. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
