/** Questions and answers between two processes of ours, over the pipe that Node opens to a child it forks. */

import type { ChildProcess, SendHandle } from "node:child_process";

/** What may be asked: by name, the argument and the answer. Values are copied by structured clone. */
export type Calls = Readonly<Record<string, { readonly argument: unknown; readonly answer: unknown }>>;

/** Answers what the other side asks. `handle` is the socket that came with the question. */
export type Answers<Asked extends Calls> = {
  readonly [Name in keyof Asked]: (
    argument: Asked[Name]["argument"],
    handle: unknown,
  ) =>
    | Asked[Name]["answer"]
    | WithHandle<Asked[Name]["answer"]>
    | Promise<Asked[Name]["answer"] | WithHandle<Asked[Name]["answer"]>>;
};

/** An answer with a socket beside it; `sent` is called when ours may be closed. */
export class WithHandle<Value> {
  readonly value: Value;
  readonly handle: unknown;
  readonly sent: () => void;

  constructor(value: Value, handle: unknown, sent: () => void) {
    this.value = value;
    this.handle = handle;
    this.sent = sent;
  }
}

/** Thrown by `ask` when the other process is gone, or goes before it has answered. */
export class ChannelClosed extends Error {
  override readonly name = "ChannelClosed";

  constructor() {
    super("the other process is gone");
  }
}

interface Question {
  readonly ask: number;
  readonly name: string;
  readonly argument: unknown;
}

type Message =
  | Question
  | { readonly answer: number; readonly value: unknown }
  | { readonly answer: number; readonly error: Thrown };

/** What is left of an error on its way; `hint` says what to do, where the error knew. */
interface Thrown {
  readonly name: string;
  readonly message: string;
  readonly hint?: string;
  readonly code?: string;
}

interface Waiting {
  readonly resolve: (value: unknown, handle: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** One end of the pipe. */
export class Channel<Asked extends Calls, Answered extends Calls> {
  readonly #end: ChildProcess | NodeJS.Process;
  readonly #answers: Answers<Answered>;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;

  /**
   * @param end the child, or our own `process` in the child
   * @param answers what the other side may ask of us
   */
  constructor(end: ChildProcess | NodeJS.Process, answers: Answers<Answered>) {
    this.#end = end;
    this.#answers = answers;
    end.on("message", (message: unknown, handle: unknown) => this.#hear(message, handle));
    end.on("disconnect", () => this.#closed());
  }

  /**
   * Asks, and gives the answer. Rejects with what the other side threw (its name, message and hint), or with `ChannelClosed`.
   *
   * @param handle a socket to send along; ours stays open
   */
  async ask<Name extends keyof Asked & string>(
    name: Name,
    argument: Asked[Name]["argument"],
    handle?: unknown,
  ): Promise<Asked[Name]["answer"]> {
    const ask = (this.#asked += 1);
    return await new Promise((resolve, reject) => {
      this.#waiting.set(ask, { resolve, reject });
      this.#send({ ask, name, argument }, handle);
    });
  }

  /** As `ask`, for the socket that comes with the answer; undefined where none came. */
  async askForHandle<Name extends keyof Asked & string>(
    name: Name,
    argument: Asked[Name]["argument"],
  ): Promise<unknown> {
    const ask = (this.#asked += 1);
    return await new Promise((resolve, reject) => {
      this.#waiting.set(ask, { resolve: (_value, handle) => resolve(handle), reject });
      this.#send({ ask, name, argument });
    });
  }

  /** The other side may be in somebody else's hands: what does not read is not heard, and must not end this process. */
  #hear(message: unknown, handle: unknown): void {
    if (typeof message !== "object" || message === null) return;
    if (isQuestion(message)) return void this.#answer(message, handle);
    if (!("answer" in message) || typeof message.answer !== "number") return;
    const waiting = this.#waiting.get(message.answer);
    this.#waiting.delete(message.answer);
    if ("error" in message) waiting?.reject(errorFrom(message.error));
    else waiting?.resolve("value" in message ? message.value : undefined, handle);
  }

  async #answer({ ask, name, argument }: Question, handle: unknown): Promise<void> {
    try {
      const answer = Object.hasOwn(this.#answers, name) ? this.#answers[name] : undefined;
      if (answer === undefined) throw new Error(`nobody here knows "${name}"`);
      const value = await answer(argument, handle);
      if (value instanceof WithHandle)
        this.#send({ answer: ask, value: value.value }, value.handle, value.sent);
      else this.#send({ answer: ask, value });
    } catch (cause) {
      this.#send({ answer: ask, error: thrown(cause) });
    }
  }

  #send(message: Message, handle?: unknown, sent?: () => void): void {
    if (!this.#end.connected || this.#end.send === undefined) {
      sent?.();
      return this.#closed();
    }
    // A pipe that breaks while we write is told by "disconnect".
    this.#end.send(message, handle as SendHandle | undefined, {}, (error) => {
      sent?.();
      if (error !== null) this.#closed();
    });
  }

  #closed(): void {
    for (const { reject } of this.#waiting.values()) reject(new ChannelClosed());
    this.#waiting.clear();
  }
}

function isQuestion(message: object): message is Question {
  return (
    "ask" in message &&
    typeof message.ask === "number" &&
    "name" in message &&
    typeof message.name === "string"
  );
}

/** What the other side threw, as an error of ours. */
function errorFrom(said: unknown): Error {
  if (typeof said !== "object" || said === null) return new Error(String(said));
  const { name, message, hint, code } = said as Readonly<Partial<Record<keyof Thrown, unknown>>>;
  return Object.assign(new Error(typeof message === "string" ? message : "no reason given"), {
    ...(typeof name === "string" && { name }),
    ...(typeof hint === "string" && { hint }),
    ...(typeof code === "string" && { code }),
  });
}

function thrown(cause: unknown): Thrown {
  if (!(cause instanceof Error)) return { name: "Error", message: String(cause) };
  const { name, message } = cause;
  return {
    name,
    message,
    ...("hint" in cause && typeof cause.hint === "string" && { hint: cause.hint }),
    ...("code" in cause && typeof cause.code === "string" && { code: cause.code }),
  };
}
