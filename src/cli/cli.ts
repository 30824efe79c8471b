/** The command line: which commands there are, their flags and examples, and what their exit status means. */

import yargs from "yargs";
import {
  confirmCommand,
  drainCommand,
  kickCommand,
  reloadCommand,
  sessionsCommand,
  statusCommand,
} from "./daemon-commands.ts";
import { exitStatus } from "./exit-status.ts";
import { demoCommand } from "./demo.ts";
import { type Io, UsageError } from "./io.ts";
import { checkCommand } from "./check.ts";
import { matchCommand } from "./match.ts";
import { servicesCommand } from "./services.ts";
import { runCommand } from "./run.ts";
import { ConfigurationError } from "./settings.ts";
import { version } from "./version.ts";

/** In the order of the help text. */
const commands = [
  runCommand,
  checkCommand,
  matchCommand,
  servicesCommand,
  statusCommand,
  sessionsCommand,
  reloadCommand,
  confirmCommand,
  drainCommand,
  kickCommand,
  demoCommand,
];

/** Runs one command. Returns the exit status of the program; never rejects. */
export async function runCli(io: Io): Promise<number> {
  let status: number = exitStatus.ok;
  const parser = yargs(io.arguments)
    .scriptName("tcpwrapd")
    .usage("$0 COMMAND\n\nA TCP proxy that decides every connection by hosts.allow and hosts.deny.")
    .version(version())
    .alias("version", "V")
    .alias("help", "h")
    .strict()
    .demandCommand(1, "which command?")
    .recommendCommands()
    // A pipe has no width: manuals are made from this help, and must not depend on who runs it.
    .wrap(io.output.isTTY === true ? Math.min(100, yargs().terminalWidth()) : null)
    .parserConfiguration({ "parse-positional-numbers": false })
    .exitProcess(false)
    .fail((message: string | null, error: Error | undefined) => {
      throw error ?? new UsageError(message ?? "wrong usage");
    })
    .epilogue("Manual: tcpwrapd(8). The tables: hosts_access(5), hosts_options(5).");
  for (const command of commands) {
    command(parser, io, (code) => {
      status = code;
    });
  }
  parser.completion("completion", "print what lets bash or zsh complete commands and flags");
  try {
    await parser.parseAsync(io.arguments, {}, (_error, _parsed, text) => {
      if (text !== "") io.output.write(`${text}\n`);
    });
    return status;
  } catch (cause) {
    return complain(cause, io);
  }
}

function complain(cause: unknown, io: Io): number {
  if (cause instanceof ConfigurationError) {
    io.errors.write(`${cause.message}\n`);
    return cause.isAboutFlags ? exitStatus.usage : exitStatus.configuration;
  }
  if (cause instanceof UsageError || (cause instanceof Error && cause.name === "YError")) {
    io.errors.write(`tcpwrapd: ${cause.message}; "tcpwrapd --help" tells more\n`);
    return exitStatus.usage;
  }
  io.errors.write(
    `tcpwrapd: internal error: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}\n`,
  );
  return exitStatus.internal;
}
