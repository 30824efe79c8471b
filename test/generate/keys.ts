/** The keys of the configuration as rows of a table, in the order of the schema; the manuals are made from them. */
import type { JsonSchema } from "./json-schema.ts";

/** One key that holds a value (not a section). */
export interface KeyRow {
  /** "services.NAME.listen"; NAME stands for a name of the reader's own, "[]" for each item of a list. */
  readonly path: string;
  /** In words: "duration", "list of text", `"allow" or "refuse"`. */
  readonly type: string;
  /** As it would be written; absent where there is none. */
  readonly default?: string;
  readonly isRequired: boolean;
  readonly description: string;
}

/** All keys below `schema`. */
export function keyRows(schema: JsonSchema, path = ""): KeyRow[] {
  const required = schema.required ?? [];
  return Object.entries(schema.properties ?? {}).flatMap(([name, part]) =>
    rowsOf(part, path === "" ? name : `${path}.${name}`, required.includes(name)),
  );
}

function rowsOf(part: JsonSchema, path: string, isRequired: boolean): KeyRow[] {
  if (part.properties !== undefined) return keyRows(part, path);
  if (typeof part.additionalProperties === "object")
    return rowsOf(part.additionalProperties, `${path}.NAME`, false);
  const kinds = part.items?.oneOf;
  const row: KeyRow = {
    path,
    type: typeOf(part),
    isRequired,
    description: part.description ?? "",
    ...(part.default !== undefined && { default: written(part.default) }),
  };
  if (kinds === undefined) return [row];
  return [row, ...kinds.flatMap((kind) => kindRows(kind, path))];
}

/** The keys of one kind of item, such as those of "to: syslog" in the list of logs. */
function kindRows(kind: JsonSchema, path: string): KeyRow[] {
  const [discriminator, tag] =
    Object.entries(kind.properties ?? {}).find(([, { const: value }]) => value !== undefined) ?? [];
  return keyRows(kind, `${path}[${discriminator ?? ""}: ${String(tag?.const)}]`).filter(
    (row) => !row.path.endsWith(`.${discriminator ?? ""}`),
  );
}

function typeOf(part: JsonSchema): string {
  if (part.title !== undefined) return part.title;
  if (part.const !== undefined) return written(part.const);
  if (part.enum !== undefined) return oneOf(part.enum.map(written));
  const choices = part.anyOf ?? part.oneOf;
  if (choices !== undefined) return oneOf([...new Set(choices.map(typeOf))]);
  switch (part.type) {
    case "array":
      return part.items?.oneOf === undefined ? `list of ${typeOf(part.items ?? {})}` : "list";
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "true or false";
    case "object":
      return "section";
    default:
      return "text";
  }
}

function oneOf(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1) ?? ""}`;
}

/** A value as one would write it in YAML: flow style for lists and maps. */
function written(value: unknown): string {
  if (typeof value === "string") return value === "" ? '""' : value;
  if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    return `{${Object.entries(value)
      .map(([key, each]) => `${key}: ${written(each)}`)
      .join(", ")}}`;
  }
  return String(value);
}
