/** Keeps the workers: as many as asked for, each with the same policy and the same sockets, and another one for each that dies. */

import type { Held } from "../config/live.ts";
import { isSnapshot, type Snapshot } from "../config/snapshot.ts";
import type { Front } from "../fronts.ts";
import type { Answers } from "../platform/channel.ts";
import type { DrainLimits, Policy } from "../policy.ts";
import type { Journal } from "../record/journal.ts";
import { isNews, type TablesNews, type WentBack, type WorkerReport } from "./orders.ts";
import type { WorkerNews, WorkerPort } from "./port.ts";
import { Post } from "./post.ts";
import { Spare } from "./spare.ts";

export interface WorkforceOptions {
  /** How many; at least 1. */
  readonly size: number;
  /** `index` tells the posts of workers apart, 0 is the one that writes records for all; undefined for a spare. */
  readonly start: (answers: Answers<WorkerNews>, index?: number) => Promise<WorkerPort>;
  /** Whether one more worker waits for another one to die. */
  readonly hasSpare: boolean;
  readonly journal: Journal;
  /** Something that `status` shows has changed. */
  readonly onNews: () => void;
}

/** What the workers shall do from now on. */
export interface Charge {
  readonly policy: Policy;
  /** The service of each listening socket, by the socket's key. */
  readonly routes: ReadonlyMap<string, string>;
}

/** The post whose worker writes the records of the tables. */
const recorder = 0;

/** A worker that has been told to stop has so long; its records take two seconds at most. */
const stopMs = 5000;

/** The workers of one daemon. */
export class Workforce {
  readonly #options: WorkforceOptions;
  readonly #posts: readonly Post[];
  readonly #spare: Spare | undefined;
  readonly #fronts = new Map<string, Front>();
  #charge: Charge | undefined;
  #tables: TablesNews | undefined;
  /** The newest generation that the recording worker has written down. */
  #recorded = 0;
  /** What `leave` has said; absent before. */
  #leaving: DrainLimits | undefined;
  /** What `goBack` would bring back: for workers that come after its choice. */
  #base: Snapshot | undefined;
  /** What it has brought back, for as long as no file changes, and the posts whose workers have that in force. */
  #held: Held | undefined;
  readonly #holding = new Set<number>();
  #lost = { workers: 0, sessions: 0 };

  constructor(options: WorkforceOptions) {
    this.#options = options;
    const { size, start, hasSpare, journal, onNews } = options;
    this.#spare = hasSpare ? new Spare(start) : undefined;
    this.#posts = Array.from(
      { length: size },
      (_, index) =>
        new Post({
          index,
          hire: async (answers) => this.#spare?.take(answers) ?? (await start(answers, index)),
          instruct: (port, post) => this.#instruct(port, post),
          onTables: (news, post) => this.#heard(news, post),
          onNews,
          onLost: (sessions) => {
            this.#lost = { workers: this.#lost.workers + 1, sessions: this.#lost.sessions + sessions };
          },
          journal,
        }),
    );
  }

  /** Workers that died, and the sessions that they had when they were last heard of. */
  get lost(): { readonly workers: number; readonly sessions: number } {
    return this.#lost;
  }

  /** Sessions that are open, as last heard. */
  get sessions(): number {
    return this.#posts.reduce((sum, { sessions }) => sum + sessions, 0);
  }

  /** The newest tables that one of the workers has in force; undefined before the start. */
  get tables(): TablesNews | undefined {
    return this.#tables;
  }

  /** Starts all workers. Rejects when one of them does not come up, or cannot listen; none is left then. */
  async start(charge: Charge, fronts: Iterable<Front>): Promise<void> {
    this.#charge = charge;
    for (const front of fronts) this.#fronts.set(front.plan.key, front);
    const outcomes = await Promise.allSettled(this.#posts.map((post) => post.fill()));
    const failed = outcomes.find(({ status }) => status === "rejected");
    if (failed === undefined) return this.#spare?.prepare();
    this.#close();
    this.kill();
    throw failed.status === "rejected" ? failed.reason : new Error("unreachable");
  }

  /** Puts a policy in force in every worker. */
  async configure(charge: Charge): Promise<void> {
    this.#charge = charge;
    await this.#each(async (port, post) => {
      this.#heard(await port.configure(this.#ordersFor(post, charge)), post);
    });
  }

  /** Lets every worker accept from one more socket. Rejects with an error named "ListenError". */
  async listen(front: Front): Promise<void> {
    const { plan, bound } = front;
    this.#fronts.set(plan.key, front);
    await this.#each(async (port, place) => {
      if (this.#hears(place, front)) await port.listen(plan.key, bound.address, bound.socket);
    });
  }

  /** No worker accepts from this socket any more. */
  async unlisten({ plan: { key } }: Front): Promise<void> {
    this.#fronts.delete(key);
    await this.#each((port) => port.unlisten(key));
  }

  /** No worker accepts any more, and each ends after its last session; see `WorkerPort`. Resolves with the number of sessions that are left. */
  async leave(limits: DrainLimits): Promise<number> {
    this.#leaving = limits;
    this.#close();
    let left = 0;
    await this.#each(async (port) => {
      left += await port.leave(limits);
    });
    return left;
  }

  /** Resolves when the last worker has ended; after `leave`. */
  async ended(): Promise<void> {
    await Promise.all(this.#posts.flatMap(({ port }) => (port === undefined ? [] : [port.ended])));
  }

  /** Ends every session at once, and a worker that does not listen to us with it. */
  async stop(): Promise<void> {
    const late = setTimeout(() => this.kill(), stopMs);
    late.unref();
    await this.#each((port) => port.stop());
  }

  kill(): void {
    for (const { port } of this.#posts) port?.kill();
  }

  /** The workers live on without us; after `leave`. */
  letGo(): void {
    for (const { port } of this.#posts) port?.letGo();
  }

  /** Cuts one session; false when no worker has one of that id. */
  async kick(id: string): Promise<boolean> {
    let isKicked = false;
    await this.#each(async (port) => {
      if (await port.kick(id)) isKicked = true;
    });
    return isKicked;
  }

  /**
   * Each worker chooses the tables that `goBack` brings back, and one gives us a copy for those that come after it.
   *
   * @returns the number of their generation; 0 where no worker is there that has tables
   */
  async keepBase(): Promise<number> {
    let generation = 0;
    this.#base = undefined;
    // One after another: large tables are copied once.
    for (const post of this.#posts) {
      const isCopied = generation === 0;
      await this.#with(post, async (port) => {
        const base = await port.keepBase(isCopied);
        if (!isCopied || base.generation === 0) return;
        if (base.tables !== undefined && !isSnapshot(base.tables))
          throw new Error("the tables that a worker keeps do not read");
        this.#base = base.tables;
        ({ generation } = base);
      });
    }
    return generation;
  }

  /** Nothing will be brought back. */
  forgetBase(): void {
    this.#base = undefined;
  }

  /** The tables of now are wanted. */
  async confirm(): Promise<void> {
    this.forgetBase();
    await this.#each((port) => port.confirm());
  }

  /**
   * Every worker puts the tables in force again that `keepBase` has chosen, and so does each that comes after it, until a file
   * changes.
   *
   * @returns what is in force then; undefined where no worker is there to have anything in force
   */
  async goBack(): Promise<TablesNews | undefined> {
    const base = this.#base;
    this.#base = undefined;
    const held: Held | undefined = base && { tables: base };
    this.#held = held;
    this.#holding.clear();
    const said: WentBack[] = [];
    await this.#each(async (port, post) => {
      const went = (await port.goBack()) ?? (base && (await port.goBack(base)));
      if (went === undefined) return;
      said.push(went);
      this.#heard(went.news, post);
    });
    const holder = said.find(({ news }) => news.isHeld);
    // A file may have changed while we asked.
    if (base !== undefined && this.#held === held && said.length > 0)
      this.#held = holder && { tables: base, ...sinceOf(holder) };
    return holder?.news ?? said[0]?.news;
  }

  /** Whether tables are in force that are older than the files, because `goBack` has brought them back. */
  get holds(): boolean {
    return this.#tables?.isHeld === true;
  }

  /** How each worker stands; one that dies meanwhile is left out. */
  async reports(): Promise<WorkerReport[]> {
    const reports: WorkerReport[] = [];
    await this.#each(async (port) => {
      reports.push(await port.report());
    });
    return reports;
  }

  /**
   * Asks the event loop of every worker for an answer. One that is silent for `withinMs` is killed, and replaced as any that
   * dies: its listening sockets are open in it still, so no other process could take its clients from it.
   *
   * @returns false when a worker is missing and not just killed
   */
  async answered(withinMs: number): Promise<boolean> {
    const answers = await Promise.all(
      this.#posts.map(async ({ port }) => await this.#answers(port, withinMs)),
    );
    return answers.every(Boolean);
  }

  async #answers(port: WorkerPort | undefined, withinMs: number): Promise<boolean> {
    if (port === undefined) return false;
    const late = setTimeout(() => {
      const message = `worker ${port.pid} has not answered for ${withinMs / 1000} s: it is killed, and its sessions with it`;
      this.#options.journal.warn({ code: "worker-hung", message });
      port.kill();
    }, withinMs);
    late.unref();
    try {
      await port.ping();
    } catch {
      // It has died, killed by us or not, and is about to be replaced.
    } finally {
      clearTimeout(late);
    }
    return true;
  }

  /** Nobody is replaced any more. */
  #close(): void {
    for (const post of this.#posts) post.close();
    this.#spare?.close();
  }

  async #instruct(port: WorkerPort, post: Post): Promise<void> {
    const charge = this.#charge;
    const held = this.#held;
    if (charge === undefined) throw new Error("no policy yet");
    const orders = { ...this.#ordersFor(post, charge), ...(held !== undefined && { held }) };
    this.#heard(await port.configure(orders), post);
    for (const front of this.#fronts.values()) {
      const { plan, bound } = front;
      if (this.#hears(post, front)) await port.listen(plan.key, bound.address, bound.socket);
    }
    // A reload may have come while this worker was on its way up.
    if (this.#charge !== undefined && this.#charge !== charge)
      await port.configure(this.#ordersFor(post, this.#charge));
    if (held === undefined && this.#held !== undefined) {
      const went = await port.goBack(this.#held.tables);
      if (went !== undefined) this.#heard(went.news, post);
    }
    if (this.#leaving !== undefined) await port.leave(this.#leaving);
    this.#spare?.prepare();
  }

  /** The datagrams of one client must not be spread over workers: one of them takes those of all UDP services. */
  #hears({ index }: Post, { plan }: Front): boolean {
    return !plan.isDatagram || index === this.#posts.length - 1;
  }

  /** Does the same with every worker that is there; one that dies meanwhile gets it in its successor's `#fill`. */
  async #each(act: (port: WorkerPort, post: Post) => Promise<void>): Promise<void> {
    await Promise.all(this.#posts.map((post) => this.#with(post, act)));
  }

  async #with(post: Post, act: (port: WorkerPort, post: Post) => Promise<void>): Promise<void> {
    if (post.port === undefined) return;
    try {
      await act(post.port, post);
    } catch (cause) {
      if (!(cause instanceof Error && cause.name === "ChannelClosed")) throw cause;
    }
  }

  #ordersFor(post: Post, { policy, routes }: Charge) {
    const latest = this.#tables?.generation ?? 0;
    const isOnly = this.#posts.length === 1;
    return {
      policy,
      routes,
      workers: this.#posts.length,
      // Nobody knows whether the tables are still those of a worker that died alone; where others live, they are theirs.
      firstGeneration: isOnly ? latest + 1 : Math.max(1, latest),
      recordedGeneration: this.#recorded,
      recordsTables: post.index === recorder,
    };
  }

  #heard(news: TablesNews, { index }: Post): void {
    if (!isNews(news)) throw new Error("what a worker says of its tables does not read");
    if (index === recorder) this.#recorded = news.generation;
    if (news.isHeld) this.#holding.add(index);
    else if (this.#holding.has(index)) {
      this.#held = undefined;
      this.#holding.clear();
    }
    if (news.generation >= (this.#tables?.generation ?? 0)) this.#tables = news;
    this.#options.onNews();
  }
}

/** What a worker says of the files may be anything. */
function sinceOf({ heldSince }: WentBack): Pick<Held, "since"> {
  return typeof heldSince === "string" ? { since: heldSince } : {};
}
