/** config/tcpwrapd.yaml: every key with its default, commented out, so that the file as shipped configures nothing. */
import type { JsonSchema } from "./json-schema.ts";
import { keyRows } from "./keys.ts";

/**
 * The sample file.
 *
 * "#key:" without a blank can be taken out of its comment; "# text" is for people only.
 */
export function sampleFile(schema: JsonSchema): string {
  const sections = Object.entries(schema.properties ?? {}).map(([name, part]) =>
    name === "services" ? servicesSection(part) : section(name, part),
  );
  return `${beginning}\n${sections.join("\n")}`;
}

const beginning = `# The configuration of tcpwrapd(8); tcpwrapd.yaml(5) explains every key. "tcpwrapd check" reads it without serving.
# yaml-language-server: $schema=/usr/share/tcpwrapd/tcpwrapd.schema.json
#
# Every key is here with its default. To change one, take the "#" away from its line and from that of its section.
# Nothing is served until there is a service. The rules are in the tables, hosts_access(5), and take effect as they are saved.
`;

function section(name: string, part: JsonSchema): string {
  const about = part.description === undefined ? "" : `# ${part.description}\n`;
  if (part.properties === undefined) {
    const written = keyRows({ properties: { [name]: part } })[0]?.default ?? "";
    return `${about}#${name}: ${written}\n`;
  }
  return `${about}#${name}:\n${keyLines(part, "#  ", "")}`;
}

/** One service, as an example that can be taken over. */
function servicesSection(part: JsonSchema): string {
  const service = typeof part.additionalProperties === "object" ? part.additionalProperties : {};
  return `# ${part.description ?? ""}\n#services:\n#  sshd:\n${keyLines(service, "#    ", "services.NAME.")}`;
}

const examples: Readonly<Record<string, string>> = {
  "services.NAME.listen": '["0.0.0.0:22", "[::]:22"]',
  "services.NAME.backend": '"127.0.0.1:2222"',
  "services.NAME.daemon": "sshd",
};

function keyLines(part: JsonSchema, indent: string, under: string): string {
  return keyRows(part)
    .filter(({ path }) => !path.includes("["))
    .reduce(
      ({ text, open }, row) => {
        const steps = row.path.split(".");
        const key = steps.at(-1) ?? "";
        const above = steps.slice(0, -1);
        const opened = above
          .map((step, depth) => ({ step, depth }))
          .filter(({ depth }) => open.slice(0, depth + 1).join(".") !== above.slice(0, depth + 1).join("."))
          .map(({ step, depth }) => `${indent}${"  ".repeat(depth)}${step}:\n`)
          .join("");
        const value = examples[under + row.path] ?? row.default;
        const inner = `${indent}${"  ".repeat(above.length)}`;
        const line = value === undefined ? `${inner}# ${key}: (${row.type})` : `${inner}${key}: ${value}`;
        const about = row.description === "" ? "" : `  # ${row.description}`;
        return { text: `${text}${opened}${line}${about}\n`, open: above };
      },
      { text: "", open: [] as string[] },
    ).text;
}
