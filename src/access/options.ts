/** The options of a rule that has matched: run left to right, each looked at only when its turn comes. */
import type { Command, Diagnostic, Effect, Fact, Request, Severity } from "./types.ts";
import type { Accounts } from "./tables.ts";
import { expand } from "./expand.ts";
import { optionError, type OptionProblem, type Outcome, type Progress } from "./option-rows.ts";
import { parseOptions, type ParsedOption } from "./option-text.ts";
import { readable, shorten, trim } from "./text.ts";

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

/**
 * Runs the options of a matching rule.
 *
 * @returns what they come to, or the fact they wait for. An error ends them and refuses, whatever the table says;
 *   what earlier options asked for stays. Source: hosts_options(5)
 */
export function applyOptions(
  options: readonly ParsedOption[],
  request: Request,
  accounts: Accounts | undefined,
): Applied | { readonly kind: "need"; readonly fact: Fact } {
  const progress = start(request, accounts);
  for (const option of options) {
    const outcome = run(option, progress);
    if (outcome === undefined) continue;
    if (outcome === "allow" || outcome === "refuse") return applied(outcome, progress);
    if ("need" in outcome) return { kind: "need", fact: outcome.need };
    if ("twist" in outcome) return { ...applied("twist", progress), twist: outcome.twist };
    progress.problems.push(outcome);
    return applied("error", progress);
  }
  return applied("default", progress);
}

/** Mistakes of one rule that are found at most. */
const MOST_MISTAKES = 1000;

/**
 * Looks at every field of an options text without running anything: what a matching client would meet.
 *
 * @returns all problems, in order, up to a bound, the same one of an option once; a client meets the first error only
 */
export function checkOptions(text: string, accounts: Accounts | undefined): OptionProblem[] {
  const nobody = { address: "unknown", name: "unknown" };
  const request: Request = { daemon: "unknown", client: nobody, server: nobody, user: "unknown" };
  const problems: OptionProblem[] = [];
  for (const option of parseOptions(text, MOST_MISTAKES)) {
    const progress = start(request, accounts);
    const outcome = run(option, progress);
    if (typeof outcome === "object" && "code" in outcome) progress.problems.push(outcome);
    const said = new Map(progress.problems.map((problem) => [problem.message, problem]));
    for (const problem of said.values()) problems.push({ ...problem, at: option.at });
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
  const diagnostic = { file, line, severity, code, message: shorten(readable(message)) };
  return column === undefined || at === undefined ? diagnostic : { ...diagnostic, column: column + at };
}

function run({ content }: ParsedOption, progress: Progress): Outcome {
  if ("code" in content) return content;
  const { row, value } = content;
  if (!row.isExpanded) return row.run(value, progress);
  const expansion = expand(value, progress.request);
  if (expansion.kind === "need") return { need: { ...expansion.fact, isLate: true } };
  if (expansion.kind === "tooLong") return optionError("expansion-too-long", expansion.problem);
  for (const message of expansion.problems) {
    progress.problems.push({ severity: "warning", code: "unknown-expansion", message });
  }
  progress.request = expansion.request;
  return row.run(trim(expansion.text), progress);
}

function start(request: Request, accounts: Accounts | undefined): Progress {
  return { request, accounts, effects: [], problems: [], environment: new Map(), commandsAsked: 0 };
}

function applied(verdict: Applied["verdict"], { effects, severity, problems }: Progress): Applied {
  const result = { kind: "applied" as const, verdict, effects, problems };
  return severity === undefined ? result : { ...result, severity };
}
