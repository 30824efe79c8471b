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
import { clientBehind, type SshConnection, sshConnection } from "./operator.ts";
import { ConfigurationError, type ReadSettings, readSettings, type SharedFlags } from "./settings.ts";

/** The flag of `run` and `reload`. */
export interface ProtectFlags extends SharedFlags {
  /** "" = that of the ssh session. */
  readonly protect?: string;
}

/** Adds --protect. */
export function withProtectFlag<Flags>(parser: Argv<Flags>): Argv<Flags & ProtectFlags> {
  return parser.option("protect", {
    type: "string",
    coerce: (words: string | readonly string[] | undefined) =>
      typeof words === "object" ? words.at(-1) : words,
    describe:
      "do nothing where the tables would refuse this address, or that of your ssh session where none is given; without the flag, the latter is only warned about",
  }) as unknown as Argv<Flags & ProtectFlags>;
}

/**
 * Asks the tables on disk about the operator, for every service. Without --protect, what cannot be found out is not asked about.
 *
 * @returns false where --protect forbids to go on; what is wrong has been said
 * @throws ConfigurationError, UsageError
 */
export async function checkProtected(flags: ProtectFlags, io: Io): Promise<boolean> {
  const { protect } = flags;
  const isForbidden = protect !== undefined;
  const ssh = isForbidden && protect !== "" ? undefined : sshConnection(io);
  if (!isForbidden && ssh === undefined) return true;
  const given = addressIn(protect);
  const policy = await readPolicy(flags, io, isForbidden);
  if (policy === undefined) return true;
  const address = given ?? (await addressOf(ssh, policy.settings.control.socket, isForbidden));
  const found = await refusals(policy, address);
  for (const { service, verdict } of found) {
    const { rule } = verdict;
    const place = rule === undefined ? "no rule matches" : `${rule.file}:${rule.line}`;
    const word = isForbidden ? "error" : "warning";
    io.errors.write(`tcpwrapd: ${word}: ${service} would refuse you (${address}): ${place}\n`);
  }
  if (found.length > 0 && isForbidden) io.errors.write("tcpwrapd: nothing was done, because of --protect\n");
  return found.length === 0 || !isForbidden;
}

/** The address that the flag names; undefined where it names none. */
function addressIn(protect: string | undefined): string | undefined {
  if (protect === undefined || protect === "") return undefined;
  const address = parseAddress(protect)?.text;
  if (address === undefined) throw new UsageError(`--protect "${protect}" is no address`);
  return address;
}

/** Undefined where the configuration cannot be used and that is not for us to say: whoever reads it next says it. */
async function readPolicy(
  flags: ProtectFlags,
  io: Io,
  isForbidden: boolean,
): Promise<ReadSettings | undefined> {
  try {
    return await readSettings(flags, io.environment);
  } catch (cause) {
    if (isForbidden || !(cause instanceof ConfigurationError)) throw cause;
    return undefined;
  }
}

/** Where the operator is. One who must be known and is not is asked to say it, since any other address may be let in. */
async function addressOf(
  ssh: SshConnection | undefined,
  socket: string,
  mustBeKnown: boolean,
): Promise<string> {
  if (ssh === undefined)
    throw new UsageError("--protect finds no ssh session that this is typed into; write --protect ADDRESS");
  const { client, isLocal } = ssh;
  const behind = isLocal ? await clientBehind(ssh, socket) : client.text;
  if (behind === undefined && mustBeKnown)
    throw new UsageError(
      `--protect finds your ssh session to come from this machine (${client.text}), and no session on ${socket} that it belongs to; write --protect ADDRESS`,
    );
  return behind ?? client.text;
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
