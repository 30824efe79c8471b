/** The commands that rules may start, whoever the client is: what a process that starts them for another one checks them against. */
import type { Command, CommandOutcome, Fact, Request } from "./types.ts";
import { applyOptions } from "./options.ts";
import { parseOptions } from "./option-text.ts";

/** Stand in a command for what comes from a client; neither may occur in a table. Letters and digits only. */
export interface Marks {
  readonly text: string;
  readonly number: number;
}

/** Rounds of questions that one rule may need; a command more each. */
const MOST_COMMANDS = 1000;

/**
 * Every command of a rule's options, with marks in the places of expansions.
 *
 * @param options what stands after the second colon, a string of bytes
 */
export function commandsOf(options: string, marks: Marks): Command[] {
  if (!/spawn|twist|aclexec/i.test(options)) return [];
  const parsed = parseOptions(options);
  return requestsOf(marks).flatMap((request) => {
    const found: Command[] = [];
    let asked: Request = request;
    for (let round = 0; round < MOST_COMMANDS; round++) {
      const step = applyOptions(parsed, asked, undefined);
      if (step.kind === "applied") {
        for (const effect of step.effects) if (effect.kind === "spawn") found.push(effect.command);
        if (step.twist !== undefined) found.push(step.twist);
        break;
      }
      if (step.fact.kind === "aclexec") found.push(step.fact.command);
      asked = answered(asked, step.fact);
    }
    return found;
  });
}

/**
 * Whether a command is one of a rule: the same identity, the same settings and the same text, but for what expansions bring, which
 * holds nothing that means something to a shell.
 *
 * @param template from `commandsOf`
 */
export function isCommandOf(template: Command, command: Command, marks: Marks): boolean {
  const names = Object.keys(template.environment);
  return (
    template.umask === command.umask &&
    template.nice === command.nice &&
    template.user === command.user &&
    template.group === command.group &&
    names.length === Object.keys(command.environment).length &&
    names.every((name) =>
      isTextOf(template.environment[name] ?? "", command.environment[name] ?? "\0", marks),
    ) &&
    isTextOf(template.line, command.line, marks)
  );
}

/** Clients of every kind that makes a text differ by more than a word: with a user or without, with a server's name or without. */
function requestsOf({ text, number }: Marks): Request[] {
  const client = { address: text, name: text, port: number };
  return [text, "unknown"].flatMap((user) =>
    [text, "unknown"].map((name) => ({
      daemon: text,
      client,
      server: { address: name, name, port: number },
      user,
      processId: number,
    })),
  );
}

function answered(request: Request, fact: Fact): Request {
  // Every other fact is known from the start.
  if (fact.kind !== "aclexec") throw new Error(`nothing is known of "${fact.kind}"`);
  const outcome: CommandOutcome = "succeeded";
  return { ...request, commands: [...(request.commands ?? []), outcome] };
}

/** Walks over both at once with all places where the text may be by now, so that no text takes longer than its length times the marks. */
function isTextOf(template: string, text: string, { text: word, number }: Marks): boolean {
  const [first = "", ...rest] = template.split(new RegExp(`(?:${word}|${number})(?:@${word})?`));
  if (!text.startsWith(first)) return false;
  let places = new Set([first.length]);
  for (const literal of rest) {
    const next = new Set<number>();
    let until = -1;
    for (const place of [...places].sort((one, other) => one - other)) {
      for (let end = Math.max(place, until + 1); end <= text.length; end++) {
        if (text.startsWith(literal, end)) next.add(end + literal.length);
        until = end;
        if (!HARMLESS.test(text.charAt(end))) break;
      }
    }
    places = next;
  }
  return places.has(text.length);
}

/** What `expand` lets through. */
const HARMLESS = /^[A-Za-z0-9!@%\-_=+:,./]$/;
