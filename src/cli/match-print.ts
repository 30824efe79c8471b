/** The answer of `match`, for people as tcpdmatch prints it, and for programs as one JSON object. */

import { isKnown } from "../access/expand.ts";
import { type Endpoint, type Request, type Verdict } from "../access/types.ts";
import { printable, printableBeginning } from "./printable.ts";
import { printDiagnostic } from "./settings.ts";

/** A verdict with how it came about. */
export interface Decided {
  readonly verdict: Verdict;
  /** The rule as written; absent where none has decided. */
  readonly ruleText?: string;
  /** With every fact that was needed. */
  readonly request: Request;
  /** What was done for it, a sentence each, for --trace. */
  readonly steps: readonly string[];
  /** Commands that were not run, and count as success. */
  readonly assumed: readonly string[];
}

/** Verdicts in tcpdmatch's words. Source: tcpdmatch(8). */
const words = { allow: "granted", refuse: "denied", twist: "delegated" } as const;

/** One line of JSON: verdict, file, line, rule, reason, diagnostics; and what the rule would do besides. */
export function printJson({ verdict, ruleText, assumed }: Decided): string {
  const { kind, rule, reason, diagnostics, effects, severity } = verdict;
  return JSON.stringify({
    verdict: kind,
    file: rule?.file ?? null,
    line: rule?.line ?? null,
    rule: ruleText ?? null,
    reason,
    diagnostics,
    ...(effects.length > 0 && { effects }),
    ...(severity !== undefined && { severity }),
    ...(kind === "twist" && { command: verdict.command.line }),
    ...(assumed.length > 0 && { assumed: assumed.map((line) => `aclexec "${line}" succeeds`) }),
  });
}

/** Lines for people: what is known, the rule, the verdict; a name from DNS is printed escaped. */
export function printText(
  { verdict, ruleText = "", request, steps, assumed }: Decided,
  isTraced: boolean,
): string {
  const { rule, reason, diagnostics } = verdict;
  const lines = [
    ...known("client", request.client),
    ...(isKnown(request.user) ? [`client:   username ${printable(request.user)}`] : []),
    ...known("server", request.server),
    `server:   process  ${printable(request.daemon)}`,
    ...(isTraced ? steps.map((step) => `step:     ${printableBeginning(step)}`) : []),
    // libwrap logs an unknown %-sequence as often as it stands there.
    ...new Set(diagnostics.map((diagnostic) => `problem:  ${printDiagnostic(diagnostic)}`)),
    ...assumed.map((line) => `assumed:  aclexec "${printableBeginning(line)}" succeeds`),
    rule === undefined
      ? `matched:  ${reason === "no_match" ? "no rule" : "a table that cannot be read"}`
      : `matched:  ${printable(rule.file)} line ${rule.line}: ${printableBeginning(ruleText)}`,
    ...(verdict.kind === "twist" ? [`command:  ${printableBeginning(verdict.command.line)}`] : []),
    `access:   ${words[verdict.kind]}`,
  ];
  return `${lines.join("\n")}\n`;
}

function known(side: "client" | "server", endpoint: Endpoint): string[] {
  return [
    ...(isKnown(endpoint.name) ? [`${side}:   hostname ${printable(endpoint.name)}`] : []),
    ...(isKnown(endpoint.address) ? [`${side}:   address  ${printable(endpoint.address)}`] : []),
  ];
}
