#!/usr/bin/env node
/** The program: arguments in, exit status out; nothing else reads process.argv. */

// SIGHUP ends a process that does not hear it, and a daemon that still loads its modules has settings that are new anyhow.
// With other commands it stays what it is: the terminal has gone.
if (process.argv[2] === "run") process.on("SIGHUP", () => undefined);

const { runCli } = await import("./cli/cli.ts");
const { exitStatus } = await import("./cli/exit-status.ts");
const { ancestorEnvironments } = await import("./platform/ancestors.ts");

// Nobody has got the answer, so the status must not look like one: 1 is "warnings only" of check, and "refuse" of match.
process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => {
  if (code !== "EPIPE") process.stderr.write(`tcpwrapd: cannot write the output: ${code}\n`);
  process.exit(exitStatus.lostOutput);
});
process.stderr.on("error", () => undefined);

process.exitCode = await runCli({
  arguments: process.argv.slice(2),
  environment: process.env,
  ancestors: ancestorEnvironments,
  input: process.stdin,
  output: process.stdout,
  errors: process.stderr,
});
