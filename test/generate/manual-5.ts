/** The keys of tcpwrapd.yaml(5). */
import type { KeyRow } from "./keys.ts";
import { fillIn, roff, tagged } from "./roff.ts";

/** The page, from its frame. */
export function configurationManual(frame: string, rows: readonly KeyRow[]): string {
  const sections = [...new Set(rows.map(({ path }) => path.split(/[.[]/)[0] ?? path))];
  const text = sections
    .map((section) => {
      const inside = rows.filter(({ path }) => (path.split(/[.[]/)[0] ?? path) === section);
      return `.SS ${section}\n${inside.map(entryOf).join("")}`;
    })
    .join("");
  return fillIn(frame, "KEYS", text);
}

function entryOf({ path, type, default: preset, isRequired, description }: KeyRow): string {
  const facts = [
    type,
    ...(preset === undefined ? [] : [`default ${preset}`]),
    ...(isRequired ? ["required"] : []),
  ];
  const sentence = description.slice(0, 1).toUpperCase() + description.slice(1);
  return tagged(path, `(${roff(facts.join("; "))})\n.br\n${roff(sentence)}.`);
}
