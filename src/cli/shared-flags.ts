/** The flags that every command has. */

import type { Argv } from "yargs";
import { defaultConfigFile, type SharedFlags } from "./settings.ts";

/** Adds -c, --allow-file, --deny-file and --service. */
export function withSharedFlags<Flags>(parser: Argv<Flags>): Argv<Flags & SharedFlags> {
  return parser
    .option("config", { ...path, alias: "c", describe: `configuration file (${defaultConfigFile})` })
    .option("allow-file", { ...path, describe: "table of allowed clients (/etc/hosts.allow)" })
    .option("deny-file", { ...path, describe: "table of refused clients (/etc/hosts.deny)" })
    .option("control-socket", {
      ...path,
      describe: "where a running daemon is reached (/run/tcpwrapd/control.sock)",
    })
    .option("service", {
      type: "string",
      requiresArg: true,
      coerce: (words: string | readonly string[] | undefined) =>
        typeof words === "string" ? [words] : words,
      describe: "NAME=LISTEN,BACKEND, for example sshd=0.0.0.0:22,127.0.0.1:2222; repeatable",
    }) as unknown as Argv<Flags & SharedFlags>;
}

/** Said twice, the last one counts. */
const path = {
  type: "string",
  requiresArg: true,
  coerce: (words: string | readonly string[] | undefined) =>
    typeof words === "object" ? words.at(-1) : words,
} as const;
