/** The flags that every command has. */

import type { Argv } from "yargs";
import { defaultConfigFile, type SharedFlags } from "./settings.ts";

/** Adds -c, --allow-file, --deny-file and --service. */
export function withSharedFlags<Flags>(parser: Argv<Flags>): Argv<Flags & SharedFlags> {
  return parser
    .option("config", {
      alias: "c",
      type: "string",
      describe: `configuration file (${defaultConfigFile})`,
      requiresArg: true,
    })
    .option("allow-file", {
      type: "string",
      describe: "table of allowed clients (/etc/hosts.allow)",
      requiresArg: true,
    })
    .option("deny-file", {
      type: "string",
      describe: "table of refused clients (/etc/hosts.deny)",
      requiresArg: true,
    })
    .option("service", {
      type: "string",
      array: true,
      describe: "NAME=LISTEN,BACKEND, for example sshd=0.0.0.0:22,127.0.0.1:2222; repeatable",
      requiresArg: true,
    }) as unknown as Argv<Flags & SharedFlags>;
}
