/** From a logical line to a rule. */
import type { Rule } from "./tables.ts";
import type { LogicalLine } from "./lines.ts";
import { parseList } from "./list.ts";
import { parseClient, parseDaemon, type HasInterface } from "./pattern.ts";
import { indexOutsideBrackets } from "./text.ts";

/** The three fields of a rule; options absent where there is no second colon. */
export interface Fields {
  readonly daemons: string;
  readonly clients: string;
  readonly options?: string;
}

/** Reads a rule; undefined where the line has no colon. Never throws; linear in its length. Source: hosts_access(5). */
export function parseRule({ text, line }: LogicalLine, hasInterface: HasInterface): Rule | undefined {
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

/** Cuts a rule at its first two colons outside brackets; undefined where there is none. */
export function splitRule(text: string): Fields | undefined {
  const first = indexOutsideBrackets(text, ":");
  if (first < 0) return undefined;
  const daemons = text.slice(0, first);
  const second = indexOutsideBrackets(text, ":", first + 1);
  if (second < 0) return { daemons, clients: text.slice(first + 1) };
  return { daemons, clients: text.slice(first + 1, second), options: text.slice(second + 1) };
}
