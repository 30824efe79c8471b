/** docs/configuration.md: what stands around the keys is written here, the keys come from the schema. */
import type { KeyRow } from "./keys.ts";

/** The page as Markdown. */
export function configurationPage(rows: readonly KeyRow[]): string {
  const sections = [...new Set(rows.map(sectionOf))];
  return `${beginning}\n${sections.map((section) => tableOf(section, rows)).join("\n")}\n${end}`;
}

const beginning = `# Configuration

<!-- Made by "npm run generate" from src/config/schema.ts; edit that, or test/generate/configuration-page.ts. -->

\`tcpwrapd run -c FILE\` reads one YAML file; without \`-c\` it is \`/etc/tcpwrapd/tcpwrapd.yaml\`, which need not be there when flags or the
environment say what to serve. A key that is not known is an error with its line and the key that was meant. The daemon does
not start with half of a configuration, and a reload with a broken file keeps the old one.

Where a thing is said twice, flags win over the environment, the environment over the file, the file over the defaults. Editors
check the file while you type if its first line is

\`\`\`yaml
# yaml-language-server: $schema=/usr/share/tcpwrapd/tcpwrapd.schema.json
\`\`\`

(the schema is [config/tcpwrapd.schema.json](../config/tcpwrapd.schema.json); the package has it in the place above).
[config/tcpwrapd.yaml](../config/tcpwrapd.yaml) is a file with every key in it, and [config/examples](../config/examples) has whole set-ups.

A duration is a number with its unit: \`500ms\`, \`5s\`, \`2m\`, \`1h\`; \`0\` where the text says what that means. Paths are absolute.
`;

const end = `## Environment

For containers, where a file is in the way:

| variable              | what it holds                                                                            |
| --------------------- | ---------------------------------------------------------------------------------------- |
| \`TCPWRAPD_SERVICES\`   | services as \`NAME=LISTEN,BACKEND\`, several with \`;\` between them                         |
| \`TCPWRAPD_ALLOW\`      | the text of hosts.allow itself, in place of the file                                     |
| \`TCPWRAPD_DENY\`       | the text of hosts.deny itself                                                            |
| \`TCPWRAPD_LOG_FORMAT\` | \`json\`, \`text\` or \`pretty\`: records go to standard output in this form, and nowhere else |
`;

function sectionOf({ path }: KeyRow): string {
  return path.split(/[.[]/)[0] ?? path;
}

function tableOf(section: string, rows: readonly KeyRow[]): string {
  const lines = rows
    .filter((row) => sectionOf(row) === section)
    .map(
      (row) => `| \`${row.path}\` | ${escaped(row.type)} | ${defaultOf(row)} | ${escaped(row.description)} |`,
    );
  return `## ${section}\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n${lines.join("\n")}\n`;
}

function defaultOf(row: KeyRow): string {
  if (row.default !== undefined) return `\`${escaped(row.default)}\``;
  return row.isRequired ? "required" : "";
}

/** Safe in a cell of a table: no bar, and no "<" that would begin a tag. */
function escaped(text: string): string {
  return text.replace(/[|<*_]/g, String.raw`\$&`);
}
