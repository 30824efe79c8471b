/** The real library, asked through a small C program that is built here. */
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { systemPath } from "../../src/platform/paths.ts";
import type { Question } from "../support/random-tables.ts";

/** What libwrap says to a question. */
export interface LibwrapAnswer {
  readonly verdict: "granted" | "denied";
  /** `FILE line N`; "-" where no rule has matched. With `repeat` the nanoseconds per decision instead. */
  readonly matched: string;
  /** What it would have logged. */
  readonly log: readonly string[];
}

/** A running libwrap with a folder for its tables. */
export class Libwrap {
  readonly folder: string;
  readonly allow: string;
  readonly deny: string;
  private readonly program: ChildProcessWithoutNullStreams;
  private readonly answers: AsyncIterator<string>;

  /**
   * Builds the program and starts it. Throws where there is no compiler or no libwrap0-dev.
   *
   * @param repeat asks each question so often and answers with the time it takes
   * @param around a command line that starts the one behind it, for another /etc say; told the folder
   */
  constructor(repeat = 1, around: (folder: string) => readonly string[] = () => []) {
    this.folder = mkdtempSync(join(tmpdir(), "libwrap-"));
    this.allow = join(this.folder, "hosts.allow");
    this.deny = join(this.folder, "hosts.deny");
    const program = join(this.folder, "ask");
    execFileSync("cc", ["-O2", "-o", program, join(import.meta.dirname, "ask.c"), "-lwrap"], {
      stdio: "pipe",
    });
    const [file, ...rest] = [...around(this.folder), program, String(repeat)];
    this.program = spawn(file, rest);
    this.answers = createInterface({ input: this.program.stdout })[Symbol.asyncIterator]();
    this.program.stdin.write(`T\t${this.allow}\t${this.deny}\n`);
  }

  /** A path in the folder. */
  path(name: string): string {
    return join(this.folder, name);
  }

  /** Writes files of the folder, by path as `fileName` writes it. */
  write(files: Readonly<Record<string, string | Uint8Array>>): void {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(systemPath(path), content);
    }
  }

  /** Asks; all questions are sent before the first answer is read. */
  async ask(questions: readonly Question[]): Promise<LibwrapAnswer[]> {
    const lines = questions.map(
      (question) =>
        `Q\t${question.daemon}\t${question.clientName}\t${question.clientAddr}\t${question.user}` +
        `\t${question.serverName}\t${question.serverAddr}\t${question.serverPort}\n`,
    );
    this.program.stdin.write(lines.join(""));
    const answers: LibwrapAnswer[] = [];
    while (answers.length < questions.length) {
      const { value, done } = await this.answers.next();
      if (done === true) throw new Error(`libwrap ended at ${JSON.stringify(questions[answers.length])}`);
      const [verdict, matched = "", ...log] = value.split("\t");
      answers.push({ verdict: verdict === "granted" ? "granted" : "denied", matched, log });
    }
    return answers;
  }

  async close(): Promise<void> {
    if (this.program.exitCode === null && this.program.signalCode === null) {
      this.program.stdin.end();
      await once(this.program, "exit");
    }
    rmSync(this.folder, { recursive: true });
  }
}
