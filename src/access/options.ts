/** The options of a rule: one table row per keyword, read left to right when the rule matches. */
import type { Command, Diagnostic, Effect, Fact, Request, Severity } from "./types.ts";
import type { Accounts } from "./tables.ts";
import type { TableCode } from "./codes.ts";
import { expand } from "./expand.ts";
import { wholeInt, wholeOctal } from "./numbers.ts";
import { indexOutsideBrackets, isSpace, readable } from "./text.ts";

/** A problem with an option. A problem of severity "error" refuses the client. */
export interface OptionProblem {
  readonly severity: "error" | "warning";
  readonly code: TableCode;
  /** A string of bytes. */
  readonly message: string;
  /** Where its field begins in the text of the options, counted from 0; only `checkOptions` says so. */
  readonly at?: number;
}

/** What the options of a rule have come to: the verdict they settle ("default" = the table's own) and what is to be done. */
export interface Applied {
  readonly kind: "applied";
  readonly verdict: "default" | "allow" | "refuse" | "twist" | "error";
  /** The command that serves the client; there for "twist" only. */
  readonly twist?: Command;
  readonly effects: readonly Effect[];
  readonly severity?: Severity;
  readonly problems: readonly OptionProblem[];
}

/** One keyword of the language. The reader, the checker and the manual read the same rows. */
export interface OptionRow {
  readonly keyword: string;
  readonly value: "none" | "optional" | "required";
  readonly isExpanded: boolean;
  readonly mustBeLast: boolean;
  readonly manual: string;
  readonly run: (value: string, progress: Progress) => Outcome;
}

type Outcome = undefined | "allow" | "refuse" | { need: Fact } | { twist: Command } | OptionProblem;

/** What the options so far have gathered. */
interface Progress {
  readonly request: Request;
  readonly accounts: Accounts | undefined;
  readonly effects: Effect[];
  readonly problems: OptionProblem[];
  readonly environment: Map<string, string>;
  severity?: Severity;
  umask?: number;
  nice?: number;
  user?: string;
  group?: string;
  commandsAsked: number;
}

const FACILITIES = new Set([
  ..."kern user mail daemon auth lpr news uucp cron authpriv ftp syslog".split(" "),
  ...Array.from({ length: 8 }, (_, index) => `local${index}`),
]);
const LEVELS = new Map([
  ...["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"].map(
    (name) => [name, name] as const,
  ),
  ["panic", "emerg"],
  ["error", "err"],
  ["warn", "warning"],
]);

/** Every option there is, in the order of hosts_options(5). */
export const OPTIONS: readonly OptionRow[] = [
  row(
    "severity",
    "required",
    "[FACILITY.]LEVEL: where the records of this connection go",
    (value, progress) => {
      const dot = indexOutsideBrackets(value, ".");
      const facility = dot < 0 ? undefined : value.slice(0, dot).toLowerCase();
      const level = value.slice(dot + 1).toLowerCase();
      const canonical = LEVELS.get(level);
      if (facility !== undefined && !FACILITIES.has(facility)) {
        return badValue(`bad syslog facility or severity: "${value.slice(0, dot)}"`);
      }
      if (canonical === undefined)
        return badValue(`bad syslog facility or severity: "${value.slice(dot + 1)}"`);
      // kern is number 0, so tcpd takes it for "none given"; only the kernel may use it anyway.
      const isOwn = facility === undefined || facility === "kern";
      progress.severity = isOwn ? { level: canonical } : { facility, level: canonical };
      return undefined;
    },
  ),
  last("allow", "none", "allow the client, in either table", () => "allow"),
  last("deny", "none", "refuse the client, in either table", () => "refuse"),
  expanded("spawn", "SHELL-COMMAND: runs beside the connection", (value, progress) => {
    progress.effects.push({ kind: "spawn", command: command(value, progress) });
    return undefined;
  }),
  {
    ...expanded("twist", "SHELL-COMMAND: serves the client instead of the daemon", (value, progress) => ({
      twist: command(value, progress),
    })),
    mustBeLast: true,
  },
  expanded("aclexec", "SHELL-COMMAND: refuses the client unless it ends with status 0", (value, progress) => {
    const outcome = progress.request.commands?.[progress.commandsAsked++];
    if (outcome === undefined) return { need: { kind: "aclexec", command: command(value, progress) } };
    // libwrap goes on as if nothing in this table had matched, which lets the client in as often as not.
    if (outcome === "succeeded") return undefined;
    progress.problems.push({
      severity: "warning",
      code: "aclexec-failed",
      message: `aclexec failed: "${value}"`,
    });
    return "refuse";
  }),
  row("keepalive", "none", "ask the kernel to probe an idle client", (_, progress) => {
    progress.effects.push({ kind: "keepalive" });
    return undefined;
  }),
  row("linger", "required", "SECONDS that unsent bytes get after the end", (value, progress) => {
    const seconds = wholeInt(value);
    if (seconds === undefined || seconds < 0) return badValue(`bad linger value: "${value}"`);
    progress.effects.push({ kind: "linger", seconds });
    return undefined;
  }),
  row("rfc931", "optional", "[SECONDS]: ask the client's machine for the user now", (value, { request }) => {
    const seconds = value === "" ? undefined : wholeInt(value);
    if (value !== "" && (seconds === undefined || seconds <= 0))
      return badValue(`bad rfc931 timeout: "${value}"`);
    if (request.user !== undefined) return undefined;
    return { need: seconds === undefined ? { kind: "user" } : { kind: "user", withinMs: seconds * 1000 } };
  }),
  row("banners", "required", "DIRECTORY: send the file named after the daemon", (value, progress) => {
    progress.effects.push({ kind: "banners", directory: readable(value) });
    return undefined;
  }),
  row("nice", "optional", "[NUMBER]: niceness of the commands, 10 if not given", (value, progress) => {
    const nice = value === "" ? 10 : wholeInt(value);
    if (nice === undefined) return badValue(`bad nice value: "${value}"`);
    progress.nice = nice;
    return undefined;
  }),
  expanded("setenv", "NAME VALUE: environment of the commands", (value, progress) => {
    const [name = "", ...rest] = value.split(/[ \t\r\n]/);
    // setenv(3) refuses these two, and tcpd calls every failure of it by this name.
    if (name === "" || name.includes("=")) return badValue("memory allocation failure");
    const content = trim(value.slice(name.length + (rest.length > 0 ? 1 : 0)));
    progress.environment.set(readable(name), readable(content));
    return undefined;
  }),
  row("umask", "required", "OCTAL: umask of the commands", (value, progress) => {
    const mask = wholeOctal(value);
    if (mask === undefined || mask > 0o777) return badValue(`bad umask value: "${value}"`);
    progress.umask = mask;
    return undefined;
  }),
  row("user", "required", "NAME[.GROUP]: user and group of the commands", (value, progress) => {
    const dot = indexOutsideBrackets(value, ".");
    const user = dot < 0 ? value : value.slice(0, dot);
    const problem = dot < 0 ? undefined : setGroup(value.slice(dot + 1), progress);
    if (problem !== undefined) return problem;
    if (progress.accounts?.users.has(user) === false) {
      return { severity: "error", code: "unknown-user", message: `unknown user: "${user}"` };
    }
    progress.user = readable(user);
    return undefined;
  }),
  row("group", "required", "NAME: group of the commands", setGroup),
];

const BY_KEYWORD = new Map(OPTIONS.map((option) => [option.keyword, option]));

/**
 * Runs the options of a matching rule, left to right, each looked at only when its turn comes.
 *
 * @param text what stands after the second colon, a string of bytes
 * @returns what they come to, or the fact they wait for. An error ends them and refuses, whatever the table says;
 *   what earlier options asked for stays. Source: hosts_options(5)
 */
export function applyOptions(
  text: string,
  request: Request,
  accounts: Accounts | undefined,
): Applied | { readonly kind: "need"; readonly fact: Fact } {
  const progress = start(request, accounts);
  const fields = splitOptions(text);
  for (const [index, field] of fields.entries()) {
    const outcome = runField(field, index === fields.length - 1, progress);
    if (outcome === undefined) continue;
    if (outcome === "allow" || outcome === "refuse") return applied(outcome, progress);
    if ("need" in outcome) return { kind: "need", fact: outcome.need };
    if ("twist" in outcome) return { ...applied("twist", progress), twist: outcome.twist };
    progress.problems.push(outcome);
    return applied("error", progress);
  }
  return applied("default", progress);
}

/**
 * Looks at every field of an options text without running anything: what a matching client would meet.
 *
 * @returns all problems, in order; a client meets the first error only
 */
export function checkOptions(text: string, accounts: Accounts | undefined): OptionProblem[] {
  const fields = fieldsOf(text);
  const nobody = { address: "unknown", name: "unknown" };
  const request: Request = { daemon: "unknown", client: nobody, server: nobody, user: "unknown" };
  const problems: OptionProblem[] = [];
  for (const [index, { text, at }] of fields.entries()) {
    const progress = start(request, accounts);
    const outcome = runField(text, index === fields.length - 1, progress);
    if (typeof outcome === "object" && "code" in outcome) progress.problems.push(outcome);
    for (const problem of progress.problems) problems.push({ ...problem, at });
  }
  return problems;
}

/**
 * A problem of an option with the place of its rule.
 *
 * @param column where the options begin in their line, counted from 1; absent where a column would mean nothing
 */
export function placeProblem(
  { severity, code, message, at }: OptionProblem,
  file: string,
  line: number,
  column?: number,
): Diagnostic {
  const diagnostic = { file, line, severity, code, message: readable(message) };
  return column === undefined || at === undefined ? diagnostic : { ...diagnostic, column: column + at };
}

/** Cuts an options text at its colons; a backslash right before a colon makes it text. */
export function splitOptions(text: string): string[] {
  return fieldsOf(text).map((field) => field.text);
}

/** The fields of an options text, and where each begins behind its blanks. */
function fieldsOf(text: string): { readonly text: string; readonly at: number }[] {
  const fields: { text: string; at: number }[] = [];
  let field = "";
  let from = 0;
  let at = 0;
  const end = (colon: number): void => {
    let begin = at;
    while (begin < colon && isSpace(text.charCodeAt(begin))) begin++;
    fields.push({ text: field + text.slice(from, colon), at: begin });
    at = colon + 1;
    field = "";
  };
  for (let colon = text.indexOf(":"); colon >= 0; colon = text.indexOf(":", colon + 1)) {
    if (colon > from && text.charAt(colon - 1) === "\\") field += `${text.slice(from, colon - 1)}:`;
    else end(colon);
    from = colon + 1;
  }
  // The newline of the line makes the last field one even where nothing stands after the last colon.
  end(text.length);
  return fields;
}

function runField(field: string, isLast: boolean, progress: Progress): Outcome {
  const { keyword, value } = keywordAndValue(field);
  if (keyword === "") return error("missing-option-name", "missing option name");
  const option = BY_KEYWORD.get(keyword.toLowerCase());
  if (option === undefined) return error("unknown-option", `bad option name: "${keyword}"`);
  if (value === "" && option.value === "required")
    return error("missing-value", `option "${keyword}" requires value`);
  if (value !== "" && option.value === "none") {
    return error("unexpected-value", `option "${keyword}" requires no value`);
  }
  if (!isLast && option.mustBeLast) return error("option-not-last", `option "${keyword}" must be at end`);
  if (!option.isExpanded) return option.run(value, progress);
  const expansion = expand(value, progress.request);
  if (expansion.kind === "need") return { need: expansion.fact };
  if (expansion.kind === "tooLong") return error("expansion-too-long", expansion.problem);
  for (const message of expansion.problems) {
    progress.problems.push({ severity: "warning", code: "unknown-expansion", message });
  }
  return option.run(trim(expansion.text), progress);
}

/** `k v`, `k=v`, `k = v` are equal; one `=` is dropped, a second is part of the value. */
function keywordAndValue(field: string): { keyword: string; value: string } {
  const text = trim(field);
  const end = text.search(/[= \t\r\n]/);
  if (end < 0) return { keyword: text, value: "" };
  const rest = text.slice(end).replace(/^[ \t\r\n]*/, "");
  return {
    keyword: text.slice(0, end),
    value: rest.startsWith("=") ? rest.slice(1).replace(/^[ \t\r\n]*/, "") : rest,
  };
}

function command(line: string, progress: Progress): Command {
  const { umask, nice, user, group } = progress;
  return {
    line: readable(line),
    environment: Object.fromEntries(progress.environment),
    ...(umask !== undefined && { umask }),
    ...(nice !== undefined && { nice }),
    ...(user !== undefined && { user }),
    ...(group !== undefined && { group }),
  };
}

function setGroup(group: string, progress: Progress): OptionProblem | undefined {
  if (progress.accounts?.groups.has(group) === false)
    return error("unknown-group", `unknown group: "${group}"`);
  progress.group = readable(group);
  return undefined;
}

function start(request: Request, accounts: Accounts | undefined): Progress {
  return { request, accounts, effects: [], problems: [], environment: new Map(), commandsAsked: 0 };
}

function applied(verdict: Applied["verdict"], { effects, severity, problems }: Progress): Applied {
  const result = { kind: "applied" as const, verdict, effects, problems };
  return severity === undefined ? result : { ...result, severity };
}

function row(keyword: string, value: OptionRow["value"], manual: string, run: OptionRow["run"]): OptionRow {
  return { keyword, value, isExpanded: false, mustBeLast: false, manual, run };
}

function last(keyword: string, value: OptionRow["value"], manual: string, run: OptionRow["run"]): OptionRow {
  return { ...row(keyword, value, manual, run), mustBeLast: true };
}

function expanded(keyword: string, manual: string, run: OptionRow["run"]): OptionRow {
  return { ...row(keyword, "required", manual, run), isExpanded: true };
}

function badValue(message: string): OptionProblem {
  return error("bad-option-value", message);
}

function error(code: TableCode, message: string): OptionProblem {
  return { severity: "error", code, message };
}

/** Takes the white space off both ends, as isspace(3) has it. A loop: `/\s+$/` takes quadratic time on blanks. */
function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}
