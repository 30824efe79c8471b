/** Lets a command serve the client in place of the backend. */
import type { Socket } from "node:net";
import type { Command } from "../access/types.ts";
import type { ProgramEnd, Programs } from "../platform/commands.ts";
import { serveBy } from "./serve-by.ts";
import { shellProgram } from "./shell.ts";

/**
 * Difference 7: tcpd refuses `twist` in a resident process.
 *
 * Starts the command of `twist` with the client's connection as 0 and 1. tcpd becomes the command and gives it the connection as 2
 * as well; here 2 goes to our log, so that a client does not read the shell's complaints.
 *
 * @returns how the command ended
 *
 * Rejects when it could not be started; the client is then still ours to refuse.
 */
export async function twist(
  command: Command,
  client: Socket,
  options: {
    readonly programs: Programs;
    readonly warn: (message: string) => void;
    readonly signal?: AbortSignal;
  },
): Promise<ProgramEnd> {
  const { warn } = options;
  return await serveBy(
    { ...shellProgram(command), onErrorOutput: (line) => warn(`twist: ${line}`) },
    client,
    options,
  );
}
