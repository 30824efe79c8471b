/** From the bytes of a table to its rules. */
import type { Diagnostic, Source } from "./types.ts";
import type { Rule, Table } from "./tables.ts";
import { MAX_DIAGNOSTICS, readLines, type LogicalLine } from "./lines.ts";
import { parseList } from "./list.ts";
import { parseClient, parseDaemon, parseHost, type HasInterface, type HostPattern } from "./pattern.ts";
import { byteString, indexOutsideBrackets, readable } from "./text.ts";

/** A value and what is to be said about its text. */
export interface Parsed<Value> {
  readonly value: Value;
  readonly diagnostics: readonly Diagnostic[];
}

/** The three fields of a rule; options absent where there is no second colon. */
export interface Fields {
  readonly daemons: string;
  readonly clients: string;
  readonly options?: string;
}

/**
 * Reads a table. Never throws; linear in its bytes.
 *
 * A missing file is an empty table. One that cannot be read is broken from its first line on; one with a line beyond
 * all bounds is broken from there on. A line without colon is skipped with a warning. Source: hosts_access(5).
 */
export function parseTable(file: string, source: Source, hasInterface: HasInterface): Parsed<Table> {
  if (source.kind === "missing") return { value: { file, rules: [] }, diagnostics: [] };
  if (source.kind === "unreadable") {
    const broken = cannotOpen(file, source.reason);
    return { value: { file, rules: [], broken }, diagnostics: [broken] };
  }
  const { lines, isCutShort, diagnostics } = readLines(file, source.bytes);
  const rules: Rule[] = [];
  const remarks = [...diagnostics];
  for (const line of lines) {
    const rule = parseRule(line, hasInterface);
    if (rule !== undefined) rules.push(rule);
    else if (remarks.length < MAX_DIAGNOSTICS) remarks.push(missingColon(file, line));
  }
  const broken = isCutShort ? diagnostics.find(({ code }) => code === "line-too-long") : undefined;
  const table = { file, rules };
  return { value: broken === undefined ? table : { ...table, broken }, diagnostics: remarks };
}

/** Reads the words of a `/file`: separated by white space, nothing else means anything. */
export function parseListFile(bytes: Uint8Array, hasInterface: HasInterface): HostPattern[] {
  const text = byteString(bytes, 0, bytes.length);
  const words = text.split(/[ \t\n\v\f\r]+/).filter((word) => word !== "");
  return words.map((word) => parseHost(word, hasInterface));
}

/** Cuts a rule at its first two colons outside brackets; undefined where there is none. */
export function splitRule(text: string): Fields | undefined {
  const first = indexOutsideBrackets(text, ":");
  if (first < 0) return undefined;
  const daemons = text.slice(0, first);
  const second = indexOutsideBrackets(text, ":", first + 1);
  if (second < 0) return { daemons, clients: text.slice(first + 1) };
  return { daemons, clients: text.slice(first + 1, second), options: text.slice(second + 1) };
}

function parseRule({ text, line }: LogicalLine, hasInterface: HasInterface): Rule | undefined {
  const fields = splitRule(text);
  if (fields === undefined) return undefined;
  const rule = {
    line,
    text,
    daemons: parseList(fields.daemons, (word) => parseDaemon(word, hasInterface)),
    clients: parseList(fields.clients, (word) => parseClient(word, hasInterface)),
  };
  return fields.options === undefined ? rule : { ...rule, options: fields.options };
}

function cannotOpen(file: string, reason: string): Diagnostic {
  return { file, line: 0, severity: "error", code: "cannot-open", message: `cannot open ${file}: ${reason}` };
}

function missingColon(file: string, { line, text }: LogicalLine): Diagnostic {
  return {
    file,
    line,
    severity: "warning",
    code: "missing-colon",
    message: `missing ":" separator in "${excerpt(text)}"; the line is skipped`,
    hint: "write DAEMONS : CLIENTS",
  };
}

/** Enough of a text to find it again. */
function excerpt(text: string): string {
  return readable(text.length > 60 ? `${text.slice(0, 60)}...` : text);
}
