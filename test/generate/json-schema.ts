/** The JSON Schema of the configuration file, for editors: made from the schema that the daemon itself reads with. */
import { z } from "zod";
import { schema } from "../../src/config/schema.ts";

/** The part of JSON Schema (draft 2020-12) that our keys need. */
export interface JsonSchema {
  readonly title?: string;
  readonly description?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly pattern?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

/** The schema of what a person writes (durations as text), not of what the daemon makes of it. */
export function jsonSchema(): JsonSchema {
  const made = z.toJSONSchema(schema, {
    io: "input",
    override: ({ jsonSchema: part }) => {
      // Neither says anything to an editor: the pattern is there, and no count comes near 2^53.
      if (part.format === "starts_with") delete part.format;
      if (part.maximum === Number.MAX_SAFE_INTEGER) delete part.maximum;
    },
  });
  return { ...made, title: "tcpwrapd.yaml", description: "The configuration of tcpwrapd(8)" } as JsonSchema;
}
