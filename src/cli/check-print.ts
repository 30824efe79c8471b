/** The report of `check`: a line for each remark and one at the end, or one JSON object. */

import type { Diagnostic } from "../access/types.ts";
import { printable } from "./printable.ts";

/** What `check` has found. */
export interface CheckReport {
  readonly errors: number;
  readonly warnings: number;
  readonly tables: readonly { readonly file: string; readonly rules: number }[];
  readonly services: readonly string[];
  /** In the order in which they are printed. */
  readonly diagnostics: readonly Diagnostic[];
}

/** One line for each, `FILE:LINE:COL: severity code: message; hint`, and a summary. */
export function printReport(report: CheckReport, hasColours: boolean): string {
  const lines = report.diagnostics.map((each) => printLine(each, hasColours));
  return [...lines, summary(report), ""].join("\n");
}

/** One line of JSON. */
export function printReportJson({ errors, warnings, tables, services, diagnostics }: CheckReport): string {
  return `${JSON.stringify({ errors, warnings, tables, services, diagnostics })}\n`;
}

/** Always with line and column, so that editors and scripts find them; what is about a whole file stands at its beginning. */
function printLine(
  { file, line, column, severity, code, message, hint }: Diagnostic,
  hasColours: boolean,
): string {
  const place = `${file}:${line === 0 ? 1 : line}:${line === 0 ? 1 : (column ?? 1)}`;
  const word = hasColours
    ? `\u001b[${severity === "error" ? "1;31" : "1;33"}m${severity}\u001b[0m`
    : severity;
  const told = hint === undefined || hint === "" ? message : `${message}; ${hint}`;
  return `${printable(place)}: ${word} ${code}: ${printable(told)}`;
}

function summary({ errors, warnings, tables, services }: CheckReport): string {
  const found =
    errors + warnings === 0
      ? "nothing to say"
      : `${countOf(errors, "error")}, ${countOf(warnings, "warning")}`;
  const read = [
    ...tables.map(({ file, rules }) => `${countOf(rules, "rule")} in ${printable(file)}`),
    services.length === 0 ? "no service configured" : `for ${services.join(", ")}`,
  ];
  return `${found}${tables.length === 0 ? "" : ` (${read.join(", ")})`}`;
}

function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
