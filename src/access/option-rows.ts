/** The options that a rule may have: one table row per keyword. The reader, the checker and the manual read the same rows. */
import type { Command, Effect, Fact, Request, Severity } from "./types.ts";
import type { Accounts } from "./tables.ts";
import type { TableCode } from "./codes.ts";
import { known } from "./expand.ts";
import { wholeInt, wholeOctal } from "./numbers.ts";
import { fileName, indexOutsideBrackets, readable, trim } from "./text.ts";

/** A problem with an option. A problem of severity "error" refuses the client. */
export interface OptionProblem {
  readonly severity: "error" | "warning";
  readonly code: TableCode;
  /** A string of bytes. */
  readonly message: string;
  /** Where its field begins in the text of the options, counted from 0; only `checkOptions` says so. */
  readonly at?: number;
}

/** One keyword of the language. */
export interface OptionRow {
  readonly keyword: string;
  readonly value: "none" | "optional" | "required";
  readonly isExpanded: boolean;
  readonly mustBeLast: boolean;
  readonly manual: string;
  readonly run: (value: string, progress: Progress) => Outcome;
}

/** What one option comes to; undefined = the next one has its turn. */
export type Outcome = undefined | "allow" | "refuse" | { need: Fact } | { twist: Command } | OptionProblem;

/** What the options so far have gathered; it ends with the decision, where tcpd changes its own process (difference 6). */
export interface Progress {
  /** What tcpd would know at this place: facts that a later option asks for are still late. */
  request: Request;
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

/** With the names that syslog(3) has today, tcpd's are from before (difference 5). */
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
    // Difference 4: libwrap goes on as if nothing in this table had matched, which lets the client in as often as not.
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
  row("rfc931", "optional", "[SECONDS]: ask the client's machine for the user now", (value, progress) => {
    const seconds = wholeInt(value);
    if (value !== "" && (seconds === undefined || seconds <= 0))
      return badValue(`bad rfc931 timeout: "${value}"`);
    if (progress.request.user === undefined)
      return {
        need: { kind: "user", isLate: true, ...(seconds !== undefined && { withinMs: seconds * 1000 }) },
      };
    progress.request = known(progress.request, "user");
    return undefined;
  }),
  row("banners", "required", "DIRECTORY: send the file named after the daemon", (value, progress) => {
    const { late } = progress.request;
    progress.effects.push({
      kind: "banners",
      directory: fileName(value),
      ...(late !== undefined && { late }),
    });
    return undefined;
  }),
  row(
    "nice",
    "optional",
    "[NUMBER]: added to the niceness of the commands, 10 if not given",
    (value, progress) => {
      const step = value === "" ? 10 : wholeInt(value);
      if (step === undefined) return badValue(`bad nice value: "${value}"`);
      // Each is a call of nice(2), which adds to what is there; the kernel cuts every result, here as if we began with 0.
      progress.nice = Math.max(-20, Math.min(19, (progress.nice ?? 0) + step));
      return undefined;
    },
  ),
  expanded("setenv", "NAME VALUE: environment of the commands", (value, progress) => {
    const [word = ""] = value.split(/[ \t\r\n]/, 1);
    const name = trim(word);
    // setenv(3) refuses these two, and tcpd calls every failure of it by this name.
    if (name === "" || name.includes("=")) return badValue("memory allocation failure");
    const content = trim(value.slice(word.length));
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

/** Node passes text to programs: bytes of a rule that are no UTF-8 are U+FFFD there (difference 11). */
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
    return optionError("unknown-group", `unknown group: "${group}"`);
  progress.group = readable(group);
  return undefined;
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
  return optionError("bad-option-value", message);
}

/** What ends the options of a rule and refuses the client. */
export function optionError(code: TableCode, message: string): OptionProblem {
  return { severity: "error", code, message };
}
