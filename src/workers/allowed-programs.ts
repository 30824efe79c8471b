/** Lets a worker that has given up root have only those programs started that the administrator has written down. */

import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { commandsOf, isCommandOf, type Marks } from "../access/commands.ts";
import { LineReader } from "../access/lines.ts";
import { splitRule } from "../access/parse.ts";
import type { Command, Source } from "../access/types.ts";
import { isSameState, look, type Looked, readWhole } from "../config/files.ts";
import { MAX_FILE_BYTES } from "../config/load.ts";
import type { Program, Programs, Running } from "../platform/commands.ts";
import type { Policy } from "../policy.ts";

/** The most that is remembered of what tables have said; the oldest is forgotten first. */
const mostTemplates = 10_000;

/**
 * Starts what is in the policy: a service's `exec` as it is written, and the commands of the tables, under the identity that their
 * rule gives them, with nothing in the places of expansions that means something to a shell.
 *
 * The tables are read here, by this process, and only where a command is not known from before. What they have said once stays
 * allowed: a worker may have decided by them a moment ago, or have them in force again after a reload that nobody confirmed.
 */
export class AllowedPrograms implements Programs {
  readonly #programs: Programs;
  readonly #marks: Marks;
  readonly #execs = new Map<string, readonly string[]>();
  readonly #templates = new Map<string, Command>();
  /** What each table was when it was read last. */
  readonly #read = new Map<string, Looked>();
  /** Every table so far, and its text where it has one of its own. */
  readonly #tables = new Map<string, string | undefined>();

  constructor(programs: Programs) {
    this.#programs = programs;
    // Nobody who writes a table or asks for a program knows them.
    this.#marks = {
      text: `m${randomBytes(12).toString("hex")}`,
      number: 2 ** 52 + randomBytes(4).readUInt32BE(),
    };
  }

  /** What is to be allowed from now on, beside what was before. */
  use({ settings, inlineTables }: Policy): void {
    for (const path of [settings.access.allow, settings.access.deny])
      this.#tables.set(path, inlineTables.get(path));
    for (const { exec } of Object.values(settings.services))
      if (exec !== undefined) this.#execs.set(JSON.stringify(exec), exec);
  }

  async start(program: Program): Promise<Running> {
    if (!this.#isExec(program) && !this.#isCommand(program))
      throw new Error("neither the configuration nor a table has this program: it is not started");
    return await this.#programs.start(program);
  }

  #isExec({ argv, environment = {}, umask, nice, user, group }: Program): boolean {
    const exec = this.#execs.get(JSON.stringify(argv));
    return (
      isDeepStrictEqual(exec, argv) &&
      [umask, nice, user, group].every((each) => each === undefined) &&
      Object.entries(environment).every(
        ([name, value]) => /^REMOTE_(?:ADDR|PORT)$/.test(name) && /^[\w.:%/-]*$/.test(value),
      )
    );
  }

  #isCommand({ argv: [shell, flag, line, ...more], environment = {}, ...settings }: Program): boolean {
    if (shell !== "/bin/sh" || flag !== "-c" || line === undefined || more.length > 0) return false;
    const { umask, nice, user, group } = settings;
    const command: Command = {
      line,
      environment,
      ...(umask !== undefined && { umask }),
      ...(nice !== undefined && { nice }),
      ...(user !== undefined && { user }),
      ...(group !== undefined && { group }),
    };
    return this.#isKnown(command) || (this.#learn() && this.#isKnown(command));
  }

  #isKnown(command: Command): boolean {
    for (const template of this.#templates.values())
      if (isCommandOf(template, command, this.#marks)) return true;
    return false;
  }

  /** Reads the tables that have changed since they were read last; false when there is none. */
  #learn(): boolean {
    let hasRead = false;
    for (const [path, inline] of this.#tables) {
      const state = inline === undefined ? look(path) : "missing";
      const before = this.#read.get(path);
      if (before !== undefined && isSameState(before, state)) continue;
      this.#read.set(path, state);
      hasRead = true;
      const source: Source =
        inline === undefined
          ? readWhole(path, MAX_FILE_BYTES).source
          : { kind: "text", bytes: new TextEncoder().encode(inline) };
      if (source.kind === "text") this.#add(path, source.bytes);
    }
    return hasRead;
  }

  #add(path: string, bytes: Uint8Array): void {
    const reader = new LineReader(path, bytes);
    for (let line = reader.next(); line !== undefined; line = reader.next()) {
      const options = splitRule(line.text)?.options;
      if (options === undefined) continue;
      for (const command of commandsOf(options, this.#marks)) {
        const key = JSON.stringify(command);
        this.#templates.delete(key);
        this.#templates.set(key, command);
      }
    }
    for (const key of this.#templates.keys()) {
      if (this.#templates.size <= mostTemplates) return;
      this.#templates.delete(key);
    }
  }
}
