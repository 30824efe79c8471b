/** Every file of the repository that is made from the program: what it is called, and what must stand in it. */
import { readFileSync } from "node:fs";
import { format } from "prettier";
import { configurationPage } from "./configuration-page.ts";
import { diagnosticsPage } from "./diagnostics-page.ts";
import { jsonSchema } from "./json-schema.ts";
import { keyRows } from "./keys.ts";
import { configurationManual } from "./manual-5.ts";
import { programManual } from "./manual-8.ts";
import { sampleFile } from "./sample.ts";

/** A made file; `path` is from the top of the repository. */
export interface Document {
  readonly path: string;
  readonly text: string;
}

/** All of them. */
export async function documents(): Promise<Document[]> {
  const schema = jsonSchema();
  const rows = keyRows(schema);
  return [
    { path: "config/tcpwrapd.schema.json", text: await pretty(JSON.stringify(schema), "json") },
    { path: "config/tcpwrapd.yaml", text: sampleFile(schema) },
    { path: "docs/configuration.md", text: await pretty(configurationPage(rows), "markdown") },
    { path: "docs/diagnostics.md", text: await pretty(diagnosticsPage(), "markdown") },
    { path: "docs/man/tcpwrapd.yaml.5", text: configurationManual(frame("tcpwrapd.yaml.5"), rows) },
    { path: "docs/man/tcpwrapd.8", text: await programManual(frame("tcpwrapd.8")) },
  ];
}

/** Formatted as the rest of the repository, so that the check of the format has nothing to say. */
async function pretty(text: string, parser: "json" | "markdown"): Promise<string> {
  const options = JSON.parse(
    readFileSync(new URL("../../.prettierrc.json", import.meta.url), "utf8"),
  ) as object;
  return await format(text, { ...options, parser });
}

function frame(page: string): string {
  return readFileSync(new URL(`${page}.in`, import.meta.url), "utf8");
}
