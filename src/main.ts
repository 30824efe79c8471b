#!/usr/bin/env node
/** The program: arguments in, exit status out; nothing else reads process.argv. */

import { runCli } from "./cli/cli.ts";

process.exitCode = await runCli({
  arguments: process.argv.slice(2),
  environment: process.env,
  input: process.stdin,
  output: process.stdout,
  errors: process.stderr,
});
