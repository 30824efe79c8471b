/** Reads the configuration: the YAML file, the environment of a container and the command line, checked by one schema. */

import {
  type Alias,
  LineCounter,
  type Document,
  isMap,
  isNode,
  isPair,
  isScalar,
  parseDocument,
  visit,
} from "yaml";
import type { z } from "zod";
import type { Diagnostic } from "../access/types.ts";
import { type Settings, schema } from "./schema.ts";
import { nearest } from "./nearest.ts";

/** Keys as they would stand in the file, given by flags or the environment; `origin` names them in messages. */
export interface Layer {
  readonly origin: string;
  readonly keys: Readonly<Record<string, unknown>>;
}

/** The settings, or why there are none. */
export interface Configuration {
  readonly settings?: Settings;
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Reads a configuration: the file's text first, then each layer over it.
 *
 * @param file its name for messages, and its text; absent when there is none
 * @param layers in rising order: the environment, then the flags
 */
export function readConfiguration(
  file: { readonly name: string; readonly text: string } | undefined,
  layers: readonly Layer[],
): Configuration {
  let keys: unknown = {};
  if (file !== undefined) {
    const read = readYaml(file.name, file.text);
    if (read.diagnostics.length > 0) return read;
    ({ keys } = read);
  }
  let checked = schema.safeParse(keys);
  for (const layer of layers) {
    keys = merge(keys, layer.keys);
    checked = schema.safeParse(keys);
    if (!checked.success)
      return { diagnostics: explain(checked.error, () => ({ file: layer.origin, line: 0 })) };
  }
  return checked.success
    ? { settings: checked.data, diagnostics: [] }
    : { diagnostics: explain(checked.error, () => ({ file: "configuration", line: 0 })) };
}

/** A copy of `under` with the keys of `over`; only maps are joined, lists and values are replaced. */
function merge(under: unknown, over: unknown): unknown {
  if (!isRecord(under) || !isRecord(over)) return over;
  const joined: Record<string, unknown> = { ...under };
  // A service has one of the two, so who says one takes the other back.
  for (const [one, other] of [
    ["backend", "exec"],
    ["exec", "backend"],
  ] as const)
    if (one in over && !(other in over)) delete joined[other];
  for (const [key, value] of Object.entries(over)) joined[key] = merge(joined[key], value);
  return joined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The file's keys, checked by the schema, with every complaint at its line and column. */
function readYaml(name: string, text: string): { keys: unknown; diagnostics: readonly Diagnostic[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    strict: true,
    stringKeys: true,
  });
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file: name, line, column: col };
  };
  const problems = [...document.errors, ...document.warnings];
  if (problems.length > 0) {
    const diagnostics = problems.map((problem): Diagnostic => ({
      ...placeAt(problem.pos[0]),
      severity: "error",
      code: "yaml-syntax",
      message: lowerFirst(problem.message),
    }));
    return { keys: {}, diagnostics };
  }
  const { aliases, prototypes } = oddities(document);
  if (prototypes.length > 0) {
    // The schema does not even see a service of that name.
    const diagnostics = prototypes.map((offset): Diagnostic => ({
      ...placeAt(offset),
      severity: "error",
      code: "unknown-key",
      message: 'unknown key "__proto__": nothing can have that name',
    }));
    return { keys: {}, diagnostics };
  }
  let keys: unknown;
  try {
    keys = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (cause) {
    // An alias without its anchor, or one that unfolds without end, is found only here; of the latter the last has them all in it.
    const odd = aliases.find((alias) => alias.resolve(document) === undefined) ?? aliases.at(-1);
    const message = lowerFirst(cause instanceof Error ? cause.message : String(cause));
    const place = placeAt(odd?.range?.[0] ?? 0);
    return { keys: {}, diagnostics: [{ ...place, severity: "error", code: "yaml-syntax", message }] };
  }
  const checked = schema.safeParse(keys);
  const diagnostics = checked.success
    ? []
    : explain(checked.error, (path, key) => placeAt(offsetOf(document, path, key)));
  return { keys, diagnostics };
}

/** What has to be looked at before the document becomes a value: its aliases, and where a key is the name of the prototype. */
function oddities(document: Document): { aliases: readonly Alias[]; prototypes: readonly number[] } {
  const aliases: Alias[] = [];
  const prototypes: number[] = [];
  visit(document, {
    Alias: (_key, alias) => void aliases.push(alias),
    Pair: (_key, { key }) => {
      if (isScalar(key) && key.value === "__proto__") prototypes.push(key.range?.[0] ?? 0);
    },
  });
  return { aliases, prototypes };
}

/** Finds places in the text of a configuration file; undefined for what it does not have. */
export function placesIn(
  name: string,
  text: string,
): (path: readonly (string | number)[]) => Place | undefined {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true });
  return (path) => {
    if (!document.hasIn(path)) return undefined;
    const { line, col } = lines.linePos(offsetOf(document, path));
    return { file: name, line, column: col };
  };
}

/** Where something stands. */
export type Place = Pick<Diagnostic, "file" | "line" | "column">;
type Locate = (path: readonly PropertyKey[], key?: string) => Place;

/** Where the value at `path` begins, or the key `key` inside it; the nearest thing above that the file has, else its start. */
function offsetOf(document: Document, path: readonly PropertyKey[], key?: string): number {
  for (let depth = path.length; depth >= 0; depth -= 1) {
    const above = path.slice(0, depth);
    const node: unknown = depth === 0 ? document.contents : document.getIn(above, true);
    if (key !== undefined && isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === key);
      if (pair !== undefined && isScalar(pair.key)) return pair.key.range?.[0] ?? 0;
    }
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}

/** The schema's complaints in our words, each with its place and, for a misspelt key, the key that was meant. */
function explain(error: z.ZodError, locate: Locate): Diagnostic[] {
  return error.issues.flatMap((issue): Diagnostic[] => {
    const where = issue.path.length === 0 ? "the configuration" : `"${issue.path.join(".")}"`;
    const at = (key?: string): Place & { severity: "error" } => ({
      ...locate(issue.path, key),
      severity: "error",
    });
    switch (issue.code) {
      case "unrecognized_keys":
        return issue.keys.map((key) => {
          const known = knownKeys(issue.path);
          const meant = nearest(key, known);
          const hint = meant === undefined ? `known here: ${known.join(", ")}` : `did you mean "${meant}"?`;
          return { ...at(key), code: "unknown-key", message: `unknown key "${key}" in ${where}`, hint };
        });
      case "invalid_key":
        return [
          {
            ...at(),
            code: "bad-name",
            message: `"${String(issue.path.at(-1))}" is no name for a service`,
            hint: issue.issues[0]?.message ?? "",
          },
        ];
      default: {
        const isMissing = issue.code === "invalid_type" && issue.message.endsWith("received undefined");
        if (isMissing) return [{ ...at(), code: "missing-key", message: `${where} is missing` }];
        const [message = "", ...hint] = lowerFirst(issue.message).split("; ");
        return [
          {
            ...at(),
            code: "bad-value",
            message: `${where}: ${message}`,
            ...(hint.length > 0 && { hint: hint.join("; ") }),
          },
        ];
      }
    }
  });
}

/** The keys that the schema knows at `path`; `.shape` is zod's public way to them. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let level: unknown = schema;
  for (const step of path) {
    const map = shapeOf(level);
    level = map === undefined ? valueTypeOf(level) : map[String(step)];
  }
  return Object.keys(shapeOf(level) ?? {});
}

function shapeOf(level: unknown): Readonly<Record<string, unknown>> | undefined {
  if (!isRecord(level)) return undefined;
  if (isRecord(level["shape"])) return level["shape"];
  const inner = isRecord(level["def"]) ? level["def"]["innerType"] : undefined;
  return inner === undefined ? undefined : shapeOf(inner);
}

function valueTypeOf(level: unknown): unknown {
  if (!isRecord(level) || !isRecord(level["def"])) return undefined;
  return level["def"]["valueType"] ?? level["def"]["element"] ?? valueTypeOf(level["def"]["innerType"]);
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1).replace(/\.$/, "");
}
