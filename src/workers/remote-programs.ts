/** Lets the supervisor start programs for a worker that has given up the right to: both ends of it. */

import type { Program, ProgramEnd, Programs, Running } from "../platform/commands.ts";
import { receivedConnection, sendableOf } from "../platform/handed-sockets.ts";

/** A program as it is sent; its connection comes beside it. */
export interface ProgramOrder {
  /** Names the program between the two processes. */
  readonly id: number;
  readonly program: Omit<Program, "connection" | "onErrorOutput">;
  readonly hasConnection: boolean;
  readonly tellsErrors: boolean;
}

/** What a worker asks of its supervisor. */
export type ProgramCalls = {
  readonly startProgram: { argument: ProgramOrder; answer: number };
  readonly killProgram: { argument: { id: number; signal: NodeJS.Signals }; answer: undefined };
};

/** What a supervisor tells its worker. */
export type ProgramNews = {
  readonly programSaid: { argument: { id: number; line: string }; answer: undefined };
  readonly programEnded: { argument: { id: number; end: ProgramEnd }; answer: undefined };
};

/** How `Channel.ask` looks from here. */
type Ask<Calls extends Record<string, { argument: unknown; answer: unknown }>> = <
  Name extends keyof Calls & string,
>(
  name: Name,
  argument: Calls[Name]["argument"],
  handle?: unknown,
) => Promise<Calls[Name]["answer"]>;

interface Waiting {
  readonly onErrorOutput: ((line: string) => void) | undefined;
  readonly end: (end: ProgramEnd) => void;
}

/** The worker's end: programs as if they were started here. */
export class RemotePrograms implements Programs {
  readonly #ask: Ask<ProgramCalls>;
  readonly #waiting = new Map<number, Waiting>();
  #count = 0;

  constructor(ask: Ask<ProgramCalls>) {
    this.#ask = ask;
  }

  async start({ connection, onErrorOutput, ...program }: Program): Promise<Running> {
    const id = (this.#count += 1);
    const handle = connection === undefined ? undefined : sendableOf(connection);
    if (connection !== undefined && (connection.destroyed || handle === undefined))
      throw new Error("the client is gone");
    const ended = new Promise<ProgramEnd>((end) => this.#waiting.set(id, { onErrorOutput, end }));
    const order = {
      id,
      program,
      hasConnection: connection !== undefined,
      tellsErrors: onErrorOutput !== undefined,
    };
    try {
      const pid = await this.#ask("startProgram", order, handle);
      return { pid, ended, kill: (signal) => this.#kill(id, signal) };
    } catch (cause) {
      this.#waiting.delete(id);
      throw cause;
    }
  }

  said({ id, line }: ProgramNews["programSaid"]["argument"]): undefined {
    this.#waiting.get(id)?.onErrorOutput?.(line);
    return undefined;
  }

  ended({ id, end }: ProgramNews["programEnded"]["argument"]): undefined {
    this.#waiting.get(id)?.end(end);
    this.#waiting.delete(id);
    return undefined;
  }

  /** The supervisor is gone: its programs go on, and nobody will tell how they end. */
  abandon(): void {
    for (const { end } of this.#waiting.values()) end({ status: null, signal: null, durationMs: 0 });
    this.#waiting.clear();
  }

  #kill(id: number, signal: NodeJS.Signals): boolean {
    if (!this.#waiting.has(id)) return false;
    this.#ask("killProgram", { id, signal }).catch(() => undefined);
    return true;
  }
}

/** The supervisor's end: starts what its worker asks for. */
export function programsFor(programs: Programs, ask: Ask<ProgramNews>) {
  const running = new Map<number, Running>();
  const tell: Ask<ProgramNews> = async (name, argument) => {
    // A worker that is gone needs no news.
    await ask(name, argument).catch(() => undefined);
    return undefined;
  };
  return {
    startProgram: async (
      { id, program, hasConnection, tellsErrors }: ProgramOrder,
      handle: unknown,
    ): Promise<number> => {
      const connection = hasConnection ? receivedConnection(handle) : undefined;
      if (hasConnection && connection === undefined) throw new Error("the client is gone");
      try {
        const started = await programs.start({
          ...plainProgram(program),
          ...(connection !== undefined && { connection }),
          ...(tellsErrors && { onErrorOutput: (line) => void tell("programSaid", { id, line }) }),
        });
        running.set(id, started);
        void started.ended.then((end) => {
          running.delete(id);
          return tell("programEnded", { id, end });
        });
        return started.pid;
      } finally {
        // The program has its own copy.
        connection?.destroy();
      }
    },
    killProgram: ({ id, signal }: { id: number; signal: NodeJS.Signals }): undefined => {
      running.get(id)?.kill(signal);
      return undefined;
    },
  };
}

/**
 * Only what a worker may say of a program. Beside it, in place of a connection, could stand the number of one of our own descriptors:
 * a listening socket, or the control socket.
 */
function plainProgram({
  argv,
  environment,
  umask,
  nice,
  user,
  group,
  ignoresHangup,
}: ProgramOrder["program"]): ProgramOrder["program"] {
  return {
    argv,
    ...(environment !== undefined && { environment }),
    ...(umask !== undefined && { umask }),
    ...(nice !== undefined && { nice }),
    ...(user !== undefined && { user }),
    ...(group !== undefined && { group }),
    ...(ignoresHangup !== undefined && { ignoresHangup }),
  };
}
