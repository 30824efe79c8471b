/** What a careful reader would say about tables that are formally right: the checker's own warnings. */
import type { Diagnostic } from "./types.ts";
import { CODES, type TableCode } from "./codes.ts";
import type { ListData } from "./compile-list.ts";
import { endOfText } from "./compile-list.ts";
import { Covered, type Stand } from "./covered.ts";
import { criticiseHost, type HostContext } from "./criticise-host.ts";
import { criticiseRule, type Daemons, readRule, type RuleRead, type RuleText } from "./criticise-rule.ts";
import { LineReader } from "./lines.ts";
import type { Netgroups } from "./netgroup.ts";
import type { TableData } from "./table-data.ts";
import type { Remark } from "./remark.ts";
import { Reach } from "./reach.ts";
import { byteString, indexOutsideBrackets, readable } from "./text.ts";

/** What is read, and what is known of its use. */
export interface Criticism {
  readonly allow: TableData;
  readonly deny: TableData;
  readonly lists: ReadonlyMap<string, ListData>;
  readonly netgroups: Netgroups;
  /** The verdict where no rule matches; absent = nobody is told who gets in without a rule. */
  readonly noMatch?: "allow" | "refuse";
  /** The daemons that are served, and the ports; absent or none = nobody knows. */
  readonly daemons?: Daemons;
  /** No name is ever looked up. */
  readonly hasNoNames?: boolean;
  /** Host names also match by their own addresses. */
  readonly followsNames?: boolean;
}

/** Remarks at most; junk must not fill the memory with them. */
const MAX_REMARKS = 1000;

/**
 * Reads both tables and their lists once more, word by word.
 *
 * @returns warnings in the order of the files; codes of codes.ts. Linear in the tables. Never throws.
 */
export function criticise(criticism: Criticism): Diagnostic[] {
  const found: Diagnostic[] = [];
  const covered = new Covered(criticism.followsNames === true);
  const reach = new Reach();
  for (const [table, isAllowTable] of [
    [criticism.allow, true],
    [criticism.deny, false],
  ] as const) {
    const note = (line: number, column: number | undefined, remark: Remark): void => {
      if (found.length < MAX_REMARKS) found.push(diagnose(table.file, line, column, remark));
    };
    for (const rule of rulesOf(table, note)) {
      const read = readRule(rule, isAllowTable);
      const columnOf = (at: number): number | undefined => (rule.isPlain ? at + 1 : undefined);
      for (const { at, ...remark } of criticiseRule(rule, read, criticism))
        note(rule.line, columnOf(at), remark);
      const stands = covered.find(read);
      if (stands !== undefined) note(rule.line, columnOf(0), neverMatches(read, stands));
      if (!read.hasExcept) covered.add(read, { file: table.file, line: rule.line, verdict: read.verdict });
      reach.add(read);
    }
  }
  for (const [path, list] of criticism.lists) {
    for (const diagnostic of criticiseList(readable(path), list, criticism)) {
      if (found.length < MAX_REMARKS) found.push(diagnostic);
    }
  }
  // A table that ends before its last rule refuses or goes on for reasons of its own.
  if (criticism.noMatch === undefined || criticism.deny.broken !== undefined) return found;
  const { allow, deny } = criticism;
  const served = criticism.daemons?.names ?? [];
  for (const remark of reach.gaps(served, criticism.noMatch, { allow: allow.file, deny: deny.file }))
    found.push(diagnose(deny.file, 0, undefined, remark));
  return found;
}

/** The rules of a table, and remarks on what only looks like a comment. */
function* rulesOf(
  { file, bytes }: TableData,
  note: (line: number, column: number | undefined, remark: Remark) => void,
): Generator<RuleText> {
  const reader = new LineReader(file, bytes);
  while (reader.at < bytes.length) {
    const start = reader.at;
    const text = reader.logicalLine();
    if (text === undefined) return;
    const { line } = reader;
    const length = reader.at - start - (bytes[reader.at - 1] === 10 ? 1 : 0);
    const isPlain = length === text.length;
    if (text.startsWith("#")) {
      if (isPlain) continue;
      const message = "the comment ends in a backslash, so this line is a part of it";
      note(line, 1, { code: "comment-continued", message, hint: "take the backslash away" });
      continue;
    }
    if (/^[ \t\r\n]*$/.test(text)) continue;
    const blanks = /^[ \t]+(?=#)/.exec(text)?.[0];
    if (blanks !== undefined && text.includes(":")) {
      const message = "this is a rule: # begins a comment in the first column only";
      const hint = "take the blanks before it away";
      note(line, isPlain ? blanks.length + 1 : undefined, { code: "indented-comment", message, hint });
      continue;
    }
    if (indexOutsideBrackets(text, ":") >= 0) yield { text, line, isPlain };
  }
}

/** The words of a /file. */
function* criticiseList(
  file: string,
  { bytes, starts }: ListData,
  { netgroups }: Criticism,
): Generator<Diagnostic> {
  const context: HostContext = { netgroups, isAllowing: false };
  let line = 1;
  let lineStart = 0;
  let at = 0;
  let commentedLine = 0;
  for (const start of starts) {
    for (; at < start; at++) {
      if (bytes[at] !== 10) continue;
      line++;
      lineStart = at + 1;
    }
    const word = byteString(bytes, start, endOfText(bytes, start));
    if (commentedLine === line) continue;
    const remark = word.startsWith("#") ? inlineComment(word) : remarkInList(word, context);
    if (word.startsWith("#")) commentedLine = line;
    if (remark !== undefined) yield diagnose(file, line, start - lineStart + 1, remark);
  }
}

function inlineComment(word: string): Remark {
  const message = `"${word}" and the words after it are patterns: there are no comments here`;
  return { code: "inline-comment", message };
}

function remarkInList(word: string, context: HostContext): Remark | undefined {
  if (word.toUpperCase() !== "EXCEPT") return criticiseHost(word, context);
  return { code: "list-except", message: `"${word}" has no meaning in a /file` };
}

function neverMatches({ verdict }: RuleRead, stands: readonly Stand[]): Remark {
  const [first] = stands;
  const places = stands.slice(0, 3).map(({ file, line }) => `${file}:${line}`);
  const more = stands.length > 3 ? " and others" : "";
  if (stands.every((each) => each.verdict === verdict)) {
    const message = `this rule changes nothing: ${places.join(", ")}${more} matches its clients first, and has the same verdict`;
    return { code: "rule-redundant", message, hint: "delete it" };
  }
  const message = `this rule never matches: ${places.join(", ")}${more} matches its clients first`;
  return {
    code: "rule-never-matches",
    message,
    hint: `move it above line ${first?.line ?? 0}, or delete it`,
  };
}

function diagnose(
  file: string,
  line: number,
  column: number | undefined,
  { code, message, hint }: Remark & { readonly code: TableCode },
): Diagnostic {
  return {
    file,
    line,
    ...(column !== undefined && { column }),
    severity: CODES[code].severity,
    code,
    message: readable(message),
    ...(hint !== undefined && { hint: readable(hint) }),
  };
}
