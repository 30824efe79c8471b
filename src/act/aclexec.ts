/** Runs the commands of `aclexec`, whose outcome decides a connection. */
import type { Command, CommandOutcome } from "../access/types.ts";
import type { ProgramEnd, Programs, Running } from "../platform/commands.ts";
import { reasonOf } from "./reason.ts";
import { Room } from "./room.ts";
import { shellProgram } from "./shell.ts";

/** How one `aclexec` command is asked for. */
export interface AclexecRequest {
  /** The connection is given up: the command is killed. */
  readonly signal: AbortSignal;
  /** Is told why an outcome is "failed". */
  readonly warn: (message: string) => void;
}

/**
 * Runs `aclexec` commands: descriptors 0, 1 and 2 on /dev/null, a time limit, bounded in number for the whole daemon.
 *
 * libwrap gives the command the client's connection as 0, 1 and 2, waits for ever, keeps a failure for all later rules and
 * requests, and grants when it cannot start a shell. Here a command never sees the socket, and everything but exit status 0
 * in time is a failure of this request alone.
 */
export class Aclexecs {
  readonly #programs: Programs;
  readonly #timeoutMs: number;
  readonly #room: Room;

  constructor(options: {
    readonly programs: Programs;
    readonly timeoutMs: number;
    readonly maxRunning: number;
  }) {
    this.#programs = options.programs;
    this.#timeoutMs = options.timeoutMs;
    this.#room = new Room(options.maxRunning);
  }

  /** How many commands run just now. */
  get running(): number {
    return this.#room.used;
  }

  /**
   * Runs one command to its end or to the time limit, where its whole process group is killed.
   *
   * Never rejects.
   */
  async run(command: Command, request: AclexecRequest): Promise<CommandOutcome> {
    const failure = await this.#findFailure(command, request.signal);
    if (failure === undefined) return "succeeded";
    request.warn(`aclexec "${command.line}": ${failure}`);
    return "failed";
  }

  async #findFailure(command: Command, signal: AbortSignal): Promise<string | undefined> {
    if (signal.aborted) return "the connection was given up";
    if (!this.#room.take()) return "too many commands are running";
    let running: Running;
    try {
      running = await this.#programs.start(shellProgram(command));
    } catch (error) {
      this.#room.give();
      return reasonOf(error);
    }
    void running.ended.then(() => this.#room.give());
    return await this.#waitFor(running, signal);
  }

  async #waitFor(running: Running, signal: AbortSignal): Promise<string | undefined> {
    return await new Promise((resolve) => {
      const stop = (why: string): void => {
        running.kill("SIGKILL");
        finish(why);
      };
      const onAbort = (): void => stop("the connection was given up");
      const limit = setTimeout(() => stop(`no answer in ${this.#timeoutMs} ms, killed`), this.#timeoutMs);
      const finish = (failure: string | undefined): void => {
        clearTimeout(limit);
        signal.removeEventListener("abort", onAbort);
        resolve(failure);
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort);
      void running.ended.then((end) => finish(failureOf(end)));
    });
  }
}

function failureOf(end: ProgramEnd): string | undefined {
  if (end.signal !== null) return `ended by ${end.signal}`;
  return end.status === 0 ? undefined : `exit status ${end.status}`;
}
