/** Turns a rule's shell command into a program to start. */
import type { Command } from "../access/types.ts";
import type { Program } from "../platform/commands.ts";

/** The command under `/bin/sh -c`, with what the options before it have set. */
export function shellProgram(command: Command): Program {
  return {
    argv: ["/bin/sh", "-c", command.line],
    environment: command.environment,
    ...(command.umask === undefined ? {} : { umask: command.umask }),
    ...(command.nice === undefined ? {} : { nice: command.nice }),
    ...(command.user === undefined ? {} : { user: command.user }),
    ...(command.group === undefined ? {} : { group: command.group }),
  };
}
