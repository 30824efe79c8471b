/** A worker that is up and has nothing to do, for the moment in which another one dies. */

import type { Answers } from "../platform/channel.ts";
import type { WorkerNews, WorkerPort } from "./port.ts";

/** After the start, and after one was taken, others have work to do first. */
const restMs = 3000;

/** One that did not come up, or died with nothing to do, is not tried again sooner. */
const troubleMs = 30_000;

interface Waiting {
  readonly port: WorkerPort;
  /** From now on its news goes there. */
  readonly adopt: (answers: Answers<WorkerNews>) => void;
}

/** Keeps one such worker. It costs the memory of a process, and saves the time that a process takes to start. */
export class Spare {
  readonly #start: (answers: Answers<WorkerNews>) => Promise<WorkerPort>;
  #waiting: Waiting | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(start: (answers: Answers<WorkerNews>) => Promise<WorkerPort>) {
    this.#start = start;
  }

  /** There will be one soon, if there is none. */
  prepare(afterMs: number = restMs): void {
    if (this.#isClosed || this.#waiting !== undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => void this.#raise(), afterMs);
    this.#timer.unref();
  }

  /** Gives the worker away, if there is one that lives. */
  take(answers: Answers<WorkerNews>): WorkerPort | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.adopt(answers);
    return waiting?.port;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#waiting?.port.kill();
    this.#waiting = undefined;
  }

  /** Never rejects: without a spare, whoever dies is replaced a little later. */
  async #raise(): Promise<void> {
    let owner: Answers<WorkerNews> | undefined;
    try {
      const port = await this.#start({
        tables: (news, handle) => owner?.tables(news, handle),
        sessions: (count, handle) => owner?.sessions(count, handle),
      });
      this.#timer = undefined;
      if (this.#isClosed) return port.kill();
      const waiting: Waiting = { port, adopt: (answers) => (owner = answers) };
      this.#waiting = waiting;
      void port.ended.then(() => this.#lose(waiting));
    } catch {
      this.#timer = undefined;
      this.prepare(troubleMs);
    }
  }

  #lose(waiting: Waiting): void {
    if (this.#waiting !== waiting) return;
    this.#waiting = undefined;
    this.prepare(troubleMs);
  }
}
