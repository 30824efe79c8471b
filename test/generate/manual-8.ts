/** The commands of tcpwrapd(8), from the help that the program itself prints. */
import { PassThrough } from "node:stream";
import { runCli } from "../../src/cli/cli.ts";
import { fillIn, roff, tagged } from "./roff.ts";

/** The page, from its frame. */
export async function programManual(frame: string): Promise<string> {
  const top = parts(await help([]));
  const entries: string[] = [];
  for (const { tag, text: summary } of top.get("Commands") ?? []) {
    const command = tag.replace(/^tcpwrapd /, "");
    const [name = ""] = command.split(" ");
    // With "completion" yargs prints the script, whatever flags there are.
    const sections = name === "completion" ? new Map<string, Row[]>() : parts(await help([name]));
    entries.push(commandEntry(command, summary, sections));
  }
  return fillIn(frame, "COMMANDS", entries.join(""));
}

/** What `tcpwrapd COMMAND --help` prints. */
async function help(command: readonly string[]): Promise<string> {
  const output = new PassThrough();
  const errors = new PassThrough();
  const status = await runCli({
    arguments: [...command, "--help"],
    environment: {},
    input: new PassThrough(),
    output,
    errors,
  });
  const text = (output.read() as Buffer | null)?.toString() ?? "";
  if (status !== 0 || text === "") throw new Error(`no help for "${command.join(" ")}"`);
  return text;
}

interface Row {
  readonly tag: string;
  readonly text: string;
}

/** The headed parts of a help text ("Options" and the like) as rows; what stands before them is under "". */
function parts(text: string): Map<string, Row[]> {
  const found = new Map<string, Row[]>([["", []]]);
  let part = "";
  for (const line of text.split("\n")) {
    const [, head] = /^([A-Z][a-z]+):$/.exec(line) ?? [];
    if (head !== undefined) {
      part = head;
      found.set(part, []);
      continue;
    }
    if (line === "" && part !== "") {
      part = "end";
      continue;
    }
    const rows = found.get(part) ?? [];
    // A tag is two blanks in (an option without a short form six), its text two or more blanks behind it.
    const [, tag = "", told = ""] = /^ {2,6}(\S.*?)(?: {2,}(.*))?$/.exec(line) ?? [];
    const isContinued = /^ {7,}\S/.test(line);
    const last = rows.at(-1);
    if (isContinued && last !== undefined)
      rows[rows.length - 1] = { ...last, text: `${last.text} ${line.trim()}` };
    else if (tag !== "") rows.push({ tag, text: told });
    else if (line !== "") rows.push({ tag: "", text: line });
    found.set(part, rows);
  }
  return found;
}

function commandEntry(
  command: string,
  summary: string,
  sections: ReadonlyMap<string, readonly Row[]>,
): string {
  const options = [...(sections.get("Positionals") ?? []), ...(sections.get("Options") ?? [])].filter(
    ({ tag }) => !/--(help|version)/.test(tag),
  );
  const examples = (sections.get("Examples") ?? [])
    .map(({ tag, text }) => `.nf\n${roff(tag)}\n.fi\n.RS\n${roff(text)}\n.RE\n`)
    .join("");
  return [
    `.SS ${roff(command)}\n${roff(capital(summary))}.\n`,
    ...options.map(({ tag, text }) => tagged(tag, roff(text))),
    examples === "" ? "" : `.PP\nExamples:\n.PP\n${examples}`,
  ].join("");
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
