/** `npm run generate`: writes the files that are made from the schema and from the command line. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { documents } from "./documents.ts";

const top = fileURLToPath(new URL("../../", import.meta.url));
for (const { path, text } of await documents()) {
  mkdirSync(dirname(`${top}${path}`), { recursive: true });
  writeFileSync(`${top}${path}`, text);
  console.log(path);
}
