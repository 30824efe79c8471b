/** A sink with a bounded queue in front of its outlet: what does not fit is lost and counted, and the count is told later. */
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";

import type { Outlet } from "../platform/outlet.ts";
import type { LogRecord } from "./records.ts";
import type { Sink, SinkState } from "./sink.ts";

/** Lines and characters that one send takes. */
const BATCH_LINES = 256;
const BATCH_CHARACTERS = 64 * 1024;

/** After a send, what comes within so long goes out together: a write for each connection costs more than the connection's verdict. */
const GATHER_MS = 5;

/** Waits before the next try, doubled each time: for a receiver that is full, and for one that is away. */
const FULL_WAIT_MS = { first: 1, last: 250 } as const;
const AWAY_WAIT_MS = { first: 100, last: 5000 } as const;

/** The other sinks hear of trouble at most so often. */
const TELL_EVERY_MS = 60_000;

/** Turns a record into what its outlet takes; undefined = not one for this form. */
export type Form = (record: LogRecord) => string | undefined;

export interface QueuedSinkOptions {
  readonly name: string;
  readonly form: Form;
  readonly outlet: Outlet;
  /** Characters that may wait; lines of info and below only get three quarters of it. Absent = 4 MiB. */
  readonly maxQueued?: number;
  /** Connections wait for its records; see `Sink.isAudit`. Absent = no. */
  readonly isAudit?: boolean;
  /** For the time of the `lost` record; absent = the system's clock. */
  readonly now?: () => number;
}

/** Lines are formed when they are written; the first is sent in the next turn of the event loop, those after it many at a time. */
export class QueuedSink implements Sink {
  readonly name: string;
  readonly isAudit: boolean;
  onTrouble: (reason: string) => void = () => undefined;
  onReturn: (lostLines: number) => void = () => undefined;
  readonly #form: Form;
  readonly #outlet: Outlet;
  readonly #maxQueued: number;
  readonly #now: () => number;
  #lines: string[] = [];
  #characters = 0;
  /** Lost and not yet told of; lost since the outlet last took a line; lost in all. */
  #untold = 0;
  #lostSince = 0;
  #lostLines = 0;
  #trouble: string | undefined;
  #isTold = false;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  /** Lines that the outlet has taken since the start, and who waits for how many of them. */
  #taken = 0;
  readonly #waiting: { readonly upTo: number; readonly resolve: (isDelivered: boolean) => void }[] = [];
  #sending: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #isClosing = false;

  constructor(options: QueuedSinkOptions) {
    this.name = options.name;
    this.isAudit = options.isAudit ?? false;
    this.#form = options.form;
    this.#outlet = options.outlet;
    this.#maxQueued = options.maxQueued ?? 4 * 1024 * 1024;
    this.#now = options.now ?? Date.now;
  }

  write(record: LogRecord): void {
    const line = this.#formed(record);
    if (line === undefined) return;
    const isDispensable = record.level === "info" || record.level === "debug";
    const room = (isDispensable ? this.#maxQueued * 0.75 : this.#maxQueued) - this.#characters;
    if (this.#isClosing || line.length > room) {
      this.#lose(1);
      return;
    }
    // Told where the gap is, as soon as the queue has room to breathe; told at once it would itself add to the flood.
    if (this.#untold > 0 && this.#characters < this.#maxQueued / 2) this.#tellLost();
    this.#push(line);
    this.#sending ??= this.#send();
  }

  delivered(): Promise<boolean> {
    // Whoever asks has just written: with a line lost since the outlet last took one, it may have been his.
    if (this.#trouble !== undefined || this.#lostSince > 0 || this.#isClosing) return Promise.resolve(false);
    if (this.#lines.length === 0) return Promise.resolve(true);
    return new Promise((resolve) => this.#waiting.push({ upTo: this.#taken + this.#lines.length, resolve }));
  }

  state(): SinkState {
    return {
      name: this.name,
      ...(this.#trouble === undefined ? undefined : { trouble: this.#trouble }),
      queuedLines: this.#lines.length,
      lostLines: this.#lostLines,
    };
  }

  async close(withinMs: number): Promise<void> {
    this.#isClosing = true;
    this.#wake?.();
    const limit = new AbortController();
    // A write in the thread pool cannot be called back; its end is not waited for.
    await Promise.race([
      this.#sending,
      sleep(withinMs, undefined, { signal: limit.signal }).catch(() => undefined),
    ]);
    limit.abort();
    this.#outlet.close();
    this.#lose(this.#lines.length);
    this.#lines = [];
  }

  /** Sends until nothing is left, or until the sink closes. Never rejects. */
  async #send(): Promise<void> {
    let waitMs = 0;
    while (this.#lines.length > 0) {
      await turn();
      const batch = this.#batch();
      try {
        const taken = await this.#outlet.send(batch);
        this.#drop(taken);
        if (taken > 0) {
          // A full receiver that has taken some is reading: the next turn finds it with room again.
          this.#returned();
          waitMs = 0;
          await this.#gather();
        } else {
          waitMs = await this.#wait(waitMs, FULL_WAIT_MS);
        }
      } catch (error) {
        this.#troubled(error instanceof Error ? error.message : String(error));
        if (this.#isClosing) break;
        waitMs = await this.#wait(waitMs, AWAY_WAIT_MS);
      }
      if (this.#lines.length === 0 && this.#untold > 0) this.#tellLost();
    }
    this.#sending = undefined;
  }

  /** A record that cannot be written down counts as lost: trouble with logs must not become trouble of a connection. */
  #formed(record: LogRecord): string | undefined {
    try {
      return this.#form(record);
    } catch (error) {
      this.#lose(1);
      this.#troubled(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  #batch(): string[] {
    let characters = 0;
    let count = 0;
    while (count < BATCH_LINES && count < this.#lines.length && characters < BATCH_CHARACTERS) {
      characters += this.#lines[count]?.length ?? 0;
      count++;
    }
    return this.#lines.slice(0, count);
  }

  #push(line: string): void {
    this.#lines.push(line);
    this.#characters += line.length;
  }

  #drop(count: number): void {
    for (const line of this.#lines.splice(0, count)) this.#characters -= line.length;
    this.#taken += count;
    this.#answer(true);
  }

  #lose(count: number): void {
    if (count > 0) this.#answer(false);
    this.#untold += count;
    this.#lostSince += count;
    this.#lostLines += count;
  }

  #tellLost(): void {
    const line = this.#form({
      timeMs: this.#now(),
      level: "warn",
      tag: "tcpwrapd",
      fields: { event: "lost", lines: this.#untold },
    });
    this.#untold = 0;
    if (line !== undefined) this.#push(line);
  }

  /** A receiver that comes and goes all the time is told of at most once in a while; one that stays away is told of in any case. */
  #troubled(reason: string): void {
    this.#trouble = reason;
    this.#answer(false);
    if (this.#isTold || this.#isClosing || performance.now() - this.#toldAtMs < TELL_EVERY_MS) return;
    this.#isTold = true;
    this.#toldAtMs = performance.now();
    this.onTrouble(reason);
  }

  #returned(): void {
    const lost = this.#lostSince;
    this.#lostSince = 0;
    this.#trouble = undefined;
    if (!this.#isTold) return;
    this.#isTold = false;
    this.onReturn(lost);
  }

  /** Tells those who wait for their lines: all of them that the lines are lost or late, or those whose lines are gone out. */
  #answer(isDelivered: boolean): void {
    while (this.#waiting[0] !== undefined && (!isDelivered || this.#waiting[0].upTo <= this.#taken)) {
      this.#waiting.shift()?.resolve(isDelivered);
    }
  }

  /** Leaves time for more lines to come, unless there are enough, or somebody waits for each of them. */
  async #gather(): Promise<void> {
    if (this.isAudit || this.#isClosing || this.#lines.length >= BATCH_LINES) return;
    await this.#sleep(GATHER_MS);
  }

  /** @returns the wait after this one, should it not help; a closing sink gives its last tries a short one */
  async #wait(lastMs: number, { first, last }: { first: number; last: number }): Promise<number> {
    const ms = Math.min(Math.max(first, lastMs * 2), this.#isClosing ? first : last);
    await this.#sleep(ms);
    return ms;
  }

  /** Ends early when the sink closes. */
  async #sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      timer.unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
