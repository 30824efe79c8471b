/** `--protect`: tables that would refuse the operator are told of before they count. */

import type { Argv } from "yargs";
import { decide } from "../access/decide.ts";
import type { Tables } from "../access/tables.ts";
import type { Request, Verdict } from "../access/types.ts";
import { readWhole } from "../config/files.ts";
import { loadTables } from "../config/load.ts";
import { parseAddress } from "../identify/addresses.ts";
import { Lookups } from "../identify/lookups.ts";
import { interfaceNames } from "../platform/interfaces.ts";
import { nisDomain } from "../platform/nis-domain.ts";
import type { Io } from "./io.ts";
import { UsageError } from "./io.ts";
import { type ReadSettings, readSettings, type SharedFlags } from "./settings.ts";

/** The flag of `run` and `reload`. */
export interface ProtectFlags extends SharedFlags {
  readonly protect?: string;
}

/** Adds --protect. */
export function withProtectFlag<Flags>(parser: Argv<Flags>): Argv<Flags & ProtectFlags> {
  return parser.option("protect", {
    type: "string",
    requiresArg: true,
    describe:
      "do nothing where the tables would refuse this address; without it, that of your ssh session is only warned about",
  }) as unknown as Argv<Flags & ProtectFlags>;
}

/**
 * Asks the tables on disk about the operator, for every service.
 *
 * @returns false where --protect forbids to go on; what is wrong has been said
 * @throws ConfigurationError, UsageError
 */
export async function checkProtected(flags: ProtectFlags, io: Io): Promise<boolean> {
  const [fromSsh = ""] = (io.environment["SSH_CONNECTION"] ?? "").split(" ");
  const asked = flags.protect ?? fromSsh;
  if (asked === "") return true;
  const address = parseAddress(asked)?.text;
  if (address === undefined) {
    if (flags.protect === undefined) return true;
    throw new UsageError(`--protect "${asked}" is no address`);
  }
  const isForbidden = flags.protect !== undefined;
  const found = await refusals(await readSettings(flags, io.environment), address);
  for (const { service, verdict } of found) {
    const { rule } = verdict;
    const place = rule === undefined ? "no rule matches" : `${rule.file}:${rule.line}`;
    const word = isForbidden ? "error" : "warning";
    io.errors.write(`tcpwrapd: ${word}: ${service} would refuse you (${address}): ${place}\n`);
  }
  if (found.length > 0 && isForbidden) io.errors.write("tcpwrapd: nothing was done, because of --protect\n");
  return found.length === 0 || !isForbidden;
}

interface Refusal {
  readonly service: string;
  readonly verdict: Verdict;
}

async function refusals({ settings, inlineTables }: ReadSettings, address: string): Promise<Refusal[]> {
  const { tables } = loadTables({
    ...settings.access,
    interfaces: interfaceNames(),
    domain: nisDomain(),
    read: (path, maxBytes) => {
      const inline = inlineTables.get(path);
      return inline === undefined
        ? readWhole(path, maxBytes).source
        : { kind: "text", bytes: new TextEncoder().encode(inline) };
    },
  });
  const { names, ident } = settings;
  const lookups = new Lookups({
    reverse: names.reverse === "never" ? "never" : "needed",
    timeoutMs: names.timeout,
    servers: names.servers,
    hostsFile: names.hostsFile,
    identTimeoutMs: ident.timeout,
  });
  try {
    const verdicts = await Promise.all(
      Object.entries(settings.services).map(async ([service, { daemon = service }]) => ({
        service,
        verdict: await judge(
          tables,
          { daemon, client: { address }, server: { address: "unknown" } },
          lookups,
        ),
      })),
    );
    return verdicts.filter(({ verdict }) => verdict.kind === "refuse");
  } finally {
    lookups.close();
  }
}

/** As `match` does: names are looked up, nobody is asked for a user, no command is run. */
async function judge(tables: Tables, asked: Request, lookups: Lookups): Promise<Verdict> {
  const never = new AbortController().signal;
  for (let request = asked; ;) {
    const step = decide(tables, request);
    if (step.kind !== "need") return step;
    if (step.fact.kind === "aclexec")
      request = { ...request, commands: [...(request.commands ?? []), "succeeded"] };
    else if (step.fact.kind === "user") request = { ...request, user: "unknown" };
    else request = await lookups.find(step.fact, request, never);
  }
}
