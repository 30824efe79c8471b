/** One post of a worker: kept filled, with another worker for each that dies. */

import { performance } from "node:perf_hooks";
import type { Answers } from "../platform/channel.ts";
import type { WorkerEnd } from "../platform/worker-process.ts";
import type { Journal } from "../record/journal.ts";
import { isCount, type TablesNews } from "./orders.ts";
import type { WorkerNews, WorkerPort } from "./port.ts";

export interface PostOptions {
  /** Tells posts apart, from 0. */
  readonly index: number;
  /** Gives a worker that is up and has nothing to do yet. */
  readonly hire: (answers: Answers<WorkerNews>, index: number) => Promise<WorkerPort>;
  /** Tells a new worker what to do; it serves when that has resolved. */
  readonly instruct: (port: WorkerPort, post: Post) => Promise<void>;
  readonly onTables: (news: TablesNews, post: Post) => void;
  /** The number of sessions is another one, or the worker is. */
  readonly onNews: () => void;
  /** A worker has died, and so many sessions with it. */
  readonly onLost: (sessions: number) => void;
  readonly journal: Journal;
}

/** A worker that lived so long died of something new; it is replaced at once. */
const longLifeMs = 10_000;

/** The waits before a worker is replaced whose predecessor died young as well, doubled each time. */
const backOffMs = { first: 100, last: 5000 } as const;

/** A post; the process in it may be another one tomorrow. */
export class Post {
  readonly #options: PostOptions;
  #port: WorkerPort | undefined;
  #sessions = 0;
  #startedAt = 0;
  /** How often in a row a worker of this post died young. */
  #deaths = 0;
  #isClosed = false;

  constructor(options: PostOptions) {
    this.#options = options;
  }

  get index(): number {
    return this.#options.index;
  }

  /** Who is there; undefined while a worker that died is not yet replaced. */
  get port(): WorkerPort | undefined {
    return this.#port;
  }

  /** Sessions that are open, as last heard. */
  get sessions(): number {
    return this.#sessions;
  }

  /** From now on nobody who dies is replaced. */
  close(): void {
    this.#isClosed = true;
  }

  /** Rejects when the worker does not come up, or cannot do what it is told. */
  async fill(): Promise<void> {
    const { hire, instruct, onTables, onNews } = this.#options;
    const answers: Answers<WorkerNews> = {
      tables: (news) => {
        onTables(news, this);
        return undefined;
      },
      sessions: (count) => {
        if (!isCount(count)) throw new Error("no number of sessions");
        this.#sessions = count;
        onNews();
        return undefined;
      },
    };
    const port = await hire(answers, this.index);
    this.#port = port;
    this.#startedAt = performance.now();
    void port.ended.then((end) => this.#replace(port, end));
    await instruct(port, this);
  }

  async #replace(port: WorkerPort, end: WorkerEnd): Promise<void> {
    if (this.#isClosed || this.#port !== port) return;
    const { journal, onNews, onLost } = this.#options;
    const lost = this.#sessions;
    this.#port = undefined;
    this.#sessions = 0;
    onLost(lost);
    const how = end.signal === null ? `with status ${end.status}` : `by ${end.signal}`;
    journal.diagnose("error", {
      code: "worker-died",
      message: `worker ${port.pid} ended ${how}, about ${lost} sessions are lost; another one takes its place`,
    });
    onNews();
    this.#deaths = performance.now() - this.#startedAt > longLifeMs ? 0 : this.#deaths + 1;
    await this.#refill();
  }

  async #refill(): Promise<void> {
    while (!this.#isClosed) {
      const waitMs = Math.min(backOffMs.first * 2 ** (this.#deaths - 2), backOffMs.last);
      if (this.#deaths > 1)
        await new Promise((resolve) => {
          setTimeout(resolve, waitMs);
        });
      try {
        if (!this.#isClosed) await this.fill();
        return;
      } catch (cause) {
        this.#deaths += 1;
        this.#port?.kill();
        this.#port = undefined;
        const reason = cause instanceof Error ? cause.message : String(cause);
        const message = `no worker in the place of the one that died: ${reason}; it is tried again`;
        this.#options.journal.diagnose("error", { code: "worker-missing", message });
      }
    }
  }
}
