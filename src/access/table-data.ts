/** A compiled table as flat arrays, and its rules read back from where they stand. */
import type { Diagnostic } from "./types.ts";
import type { HostIndex } from "./host-index.ts";
import { LineReader, type LogicalLine } from "./lines.ts";
import { parseList, type List } from "./list.ts";
import { parseRule, splitRule } from "./parse.ts";
import { parseDaemon, type DaemonPattern, type HasInterface } from "./pattern.ts";
import type { Rule } from "./tables.ts";
import { byteString, readable } from "./text.ts";

/** A compiled table. Nothing but flat arrays and short strings, so that it moves between threads for nothing. */
export interface TableData {
  readonly file: string;
  readonly bytes: Uint8Array;
  /** Per rule two numbers: where its line begins in the bytes; physical lines before it, times 4, and the flags. */
  readonly places: Uint32Array<ArrayBuffer>;
  readonly interfaces?: ReadonlySet<string>;
  /** The daemon list of each group of rules; a group's rules differ in their clients only. */
  readonly groups: readonly string[];
  readonly hosts: HostIndex;
  /** Rules that the index cannot hold, ascending: they are asked one by one. */
  readonly scanned: Uint32Array<ArrayBuffer>;
  /** The group of each of them; NO_GROUP = its daemon list must be asked too. */
  readonly scannedGroups: Uint32Array<ArrayBuffer>;
  readonly broken?: Diagnostic;
}

/** The rule has options. */
export const HAS_OPTIONS = 1;

/** The rule is more than one plain physical line. */
export const IS_JOINED = 2;

/** The group of a rule whose daemon list no group stands for. */
export const NO_GROUP = 0x7fffffff;

const NEWLINE = 10;

/** Whether an interface exists; without a list of them, every one does. */
export function hasInterfaceOf(interfaces: ReadonlySet<string> | undefined): HasInterface {
  return (name) => interfaces?.has(name) ?? true;
}

/** The daemon list of a group. */
export function parseDaemons(text: string, hasInterface: HasInterface): List<DaemonPattern> {
  return parseList(text, (word) => parseDaemon(word, hasInterface));
}

/** A rule by its number; undefined where there is none. */
export function ruleAt(data: TableData, index: number): Rule | undefined {
  const line = lineAt(data, index);
  return line && parseRule(line, hasInterfaceOf(data.interfaces));
}

/** A rule by its number without its lists; undefined where there is none. */
export function matchedAt(data: TableData, index: number): Pick<Rule, "line" | "options"> | undefined {
  const second = data.places[index * 2 + 1];
  if (second === undefined) return undefined;
  // A rule on one line and without options, which most are, is not read again.
  if ((second & (HAS_OPTIONS | IS_JOINED)) === 0) return { line: (second >>> 2) + 1 };
  const line = lineAt(data, index);
  if (line === undefined) return undefined;
  const options = (second & HAS_OPTIONS) === 0 ? undefined : splitRule(line.text)?.options;
  return options === undefined ? { line: line.line } : { line: line.line, options };
}

/** The text of a rule as written, continuation lines joined; undefined beyond the last one. */
export function textAt(data: TableData, index: number): string | undefined {
  const line = lineAt(data, index);
  return line && readable(line.text);
}

function lineAt({ file, bytes, places }: TableData, index: number): LogicalLine | undefined {
  const start = places[index * 2];
  const second = places[index * 2 + 1];
  if (start === undefined || second === undefined) return undefined;
  const before = second >>> 2;
  if ((second & IS_JOINED) !== 0) return new LineReader(file, bytes, start, before).next();
  let end = start;
  while (end < bytes.length && bytes[end] !== NEWLINE) end++;
  return { line: before + 1, text: byteString(bytes, start, end) };
}
