/** `tcpwrapd match`: predicts a verdict as tcpdmatch did, from the same tables and by the same code as the daemon. */

import { createInterface } from "node:readline";
import { decide } from "../access/decide.ts";
import { withLate } from "../access/expand.ts";
import { hostNames } from "../access/host-names.ts";
import { ruleText } from "../access/rule-text.ts";
import type { Tables } from "../access/tables.ts";
import type { Diagnostic, Endpoint, Fact, Request } from "../access/types.ts";
import { type Loaded, loadTables } from "../config/load.ts";
import { readWhole } from "../config/files.ts";
import type { Settings } from "../config/schema.ts";
import { ForwardNames } from "../identify/forward-names.ts";
import { Lookups } from "../identify/lookups.ts";
import { interfaceNames } from "../platform/interfaces.ts";
import { nisDomain } from "../platform/nis-domain.ts";
import { type AddCommand, type Io, UsageError } from "./io.ts";
import { answerLine, type Ask } from "./match-lines.ts";
import { matchCases } from "./match-cases.ts";
import { type Decided, printJson, printText } from "./match-print.ts";
import { ConfigurationError, printDiagnostic, readSettings, type SharedFlags } from "./settings.ts";
import { withSharedFlags } from "./shared-flags.ts";

/** 0 allow, 1 refuse (or twist: the client does not reach the backend), 2 could not decide. */
const matchStatus = { allow: 0, refuse: 1, twist: 1, undecided: 2 } as const;

interface MatchFlags extends SharedFlags {
  readonly daemon?: string;
  readonly client?: string;
  readonly trace: boolean;
  readonly json: boolean;
  readonly resolve: boolean;
  readonly stdin: boolean;
}

/** Adds the command. */
export const matchCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "match [daemon] [client]",
    "predict the verdict for a client: DAEMON[@SERVER] [USER@]CLIENT",
    (command) =>
      withSharedFlags(command)
        .positional("daemon", { type: "string", describe: "DAEMON or DAEMON@SERVER, for example sshd" })
        .positional("client", {
          type: "string",
          describe: "an address, a name, unknown or paranoid; USER@ before it",
        })
        .option("trace", { type: "boolean", default: false, describe: "tell every step of the decision" })
        .option("json", { type: "boolean", default: false, describe: "one JSON object a line" })
        .option("resolve", {
          type: "boolean",
          default: true,
          describe: "ask DNS (--no-resolve: names stay unknown)",
        })
        .option("stdin", {
          type: "boolean",
          default: false,
          describe: "questions as JSON lines on standard input",
        })
        .check(({ daemon, client, stdin }) => {
          if (stdin || (daemon !== undefined && client !== undefined)) return true;
          throw new UsageError("match needs DAEMON and CLIENT, or --stdin");
        })
        .example("$0 match sshd 192.0.2.7", "may this address reach sshd?")
        .example("$0 match sshd@198.51.100.1 bob@host.example", "with server address and user")
        .example("$0 match --stdin --json <questions", '{"daemon":"sshd","clientAddr":"192.0.2.7"} a line'),
    async (flags) => {
      try {
        const { settings, inlineTables } = await readSettings(flags, io.environment);
        const loaded = readTables(settings, inlineTables);
        const asked = flags as unknown as MatchFlags;
        exit(asked.stdin ? await answerLines(loaded, io) : await answerOne(asked, settings, loaded, io));
      } catch (cause) {
        // No other status than its three: a script that asks takes whatever is not 0 or 1 for no answer.
        if (!(cause instanceof ConfigurationError)) throw cause;
        io.errors.write(`${cause.message}\n`);
        exit(matchStatus.undecided);
      }
    },
  );

function readTables(settings: Settings, inline: ReadonlyMap<string, string>): Loaded {
  const { allow, deny, noMatch } = settings.access;
  return loadTables({
    allow,
    deny,
    noMatch,
    interfaces: interfaceNames(),
    domain: nisDomain(),
    read: (path, maxBytes) => {
      const text = inline.get(path);
      if (text !== undefined) return { kind: "text", bytes: new TextEncoder().encode(text) };
      return readWhole(path, maxBytes).source;
    },
  });
}

/** Says what is wrong with the tables, but for what an answer says itself; each thing once. */
function complain(diagnostics: readonly Diagnostic[], said: readonly Diagnostic[], io: Io): void {
  const isSaid = ({ file, line, message }: Diagnostic): boolean =>
    said.some((each) => each.file === file && each.line === line && each.message === message);
  const lines = diagnostics.filter((each) => !isSaid(each)).map(printDiagnostic);
  for (const line of new Set(lines)) io.errors.write(`${line}\n`);
}

/** Answers JSON lines, in order; a line that is no question is answered by an error and the rest goes on. */
async function answerLines({ tables, diagnostics }: Loaded, io: Io): Promise<number> {
  complain(diagnostics, [], io);
  const ask: Ask = (request) => decideAsGiven(tables, request);
  for await (const line of createInterface({ input: io.input, crlfDelay: Infinity })) {
    const isTaken = io.output.write(`${answerLine(line, ask)}\n`);
    if (!isTaken) await new Promise((resolve) => io.output.once("drain", resolve));
  }
  return matchStatus.allow;
}

async function answerOne(
  flags: MatchFlags,
  settings: Settings,
  { tables, diagnostics }: Loaded,
  io: Io,
): Promise<number> {
  const { names, ident } = settings;
  const lookups = new Lookups({
    reverse: flags.resolve ? "needed" : "never",
    timeoutMs: names.timeout,
    servers: names.servers,
    hostsFile: names.hostsFile,
    identTimeoutMs: ident.timeout,
  });
  const forward = names.forward && flags.resolve ? await followNames(names, tables) : undefined;
  try {
    const cases = await matchCases(flags.daemon ?? "", flags.client ?? "", flags.resolve);
    if ("error" in cases) {
      complain(diagnostics, [], io);
      io.errors.write(`tcpwrapd: ${cases.error}\n`);
      return matchStatus.undecided;
    }
    const answers: Decided[] = [];
    for (const each of cases) answers.push(await decideCase(tables, each, lookups, forward));
    const said = answers.flatMap(({ verdict }) => verdict.diagnostics);
    complain(diagnostics, flags.json ? [] : said, io);
    io.output.write(
      flags.json
        ? answers.map((each) => `${printJson(each)}\n`).join("")
        : answers.map((each) => printText(each, flags.trace)).join("\n"),
    );
    return Math.max(matchStatus.allow, ...answers.map(({ verdict }) => matchStatus[verdict.kind]));
  } finally {
    forward?.close();
    lookups.close();
  }
}

/** The addresses of every host name in the tables, each asked for once (`names.forward`). */
async function followNames(names: Settings["names"], tables: Tables): Promise<ForwardNames> {
  const forward = new ForwardNames({ ...names, timeoutMs: names.timeout });
  forward.setNames(hostNames(tables));
  await forward.settled(AbortSignal.timeout(names.timeout * 2));
  return forward;
}

async function decideCase(
  tables: Tables,
  asked: Request,
  lookups: Lookups,
  forward: ForwardNames | undefined,
): Promise<Decided> {
  const steps = [
    ...[tables.allow, tables.deny].map(({ file, rules }) => `${file} has ${countOf(rules.length, "rule")}`),
    ...(forward?.snapshot() ?? []).map(
      ({ name, addresses, status, ageMs = Number.NaN }) =>
        `${name} has ${addresses.join(", ") || "no address"} (${status}${Number.isNaN(ageMs) ? "" : `, ${Math.round(ageMs)} ms old`})`,
    ),
  ];
  const assumed: string[] = [];
  const never = new AbortController().signal;
  const forwardNames = forward?.namesOf(asked.client.address) ?? [];
  let request: Request =
    forwardNames.length === 0 ? asked : { ...asked, client: { ...asked.client, forwardNames } };
  for (;;) {
    const step = decide(tables, request);
    if (step.kind !== "need") return withText(tables, { verdict: step, request, steps, assumed });
    const { fact } = step;
    const isName = fact.kind === "clientName" || fact.kind === "serverName";
    request = isName ? await lookups.find(fact, request, never) : assume(fact, request, assumed);
    steps.push(describe(fact, request));
  }
}

/** Given facts are taken as they are, what is not given is unknown, and nothing is looked up. */
function decideAsGiven(tables: Tables, asked: Request): Decided {
  const assumed: string[] = [];
  let request = asked;
  for (;;) {
    const step = decide(tables, request);
    if (step.kind !== "need") return withText(tables, { verdict: step, request, steps: [], assumed });
    request = assume(step.fact, request, assumed);
  }
}

function withText(tables: Tables, decided: Decided): Decided {
  const { rule } = decided.verdict;
  return rule === undefined ? decided : { ...decided, ruleText: ruleText(tables, rule) };
}

/** `match` runs no commands (aclexec counts as success) and asks no ident server. */
function assume(fact: Fact, request: Request, assumed: string[]): Request {
  switch (fact.kind) {
    case "clientName":
      return withLate({ ...request, client: { ...request.client, name: "unknown" } }, fact);
    case "serverName":
      return withLate({ ...request, server: { ...request.server, name: "unknown" } }, fact);
    case "user":
      return withLate({ ...request, user: "unknown" }, fact);
    case "aclexec":
      assumed.push(fact.command.line);
      return { ...request, commands: [...(request.commands ?? []), "succeeded"] };
  }
}

function describe(fact: Fact, request: Request): string {
  switch (fact.kind) {
    case "clientName":
      return `a rule needs the client's name: it is ${nameOf(request.client)}`;
    case "serverName":
      return `a rule needs the server's name: it is ${nameOf(request.server)}`;
    case "user":
      return "a rule needs the user: no ident server is asked, so it is unknown";
    case "aclexec":
      return `a rule runs "${fact.command.line}": it is not run, and counts as success`;
  }
}

function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function nameOf({ name = "unknown", nameStatus }: Endpoint): string {
  return nameStatus === undefined ? name : `${name} (${nameStatus})`;
}
