/** Remembers the addresses of backends that are given by name, and asks again when their records have run out. */

import { isNoSuchName, type NameAnswer, NameQuestions, type NameQuestionsOptions } from "./name-question.ts";
import { within } from "./within.ts";

export interface BackendNamesOptions extends NameQuestionsOptions {
  /** Milliseconds that never go back; another one only in tests. */
  readonly now?: () => number;
}

interface Known {
  readonly addresses: readonly string[];
  readonly untilMs: number;
  /** Until when it may go on where nobody can be asked. */
  readonly staleUntilMs: number;
  /** The last question had no answer in time: nobody waits for the next one until then. Absent = it had one. */
  readonly impatientUntilMs?: number;
}

/** Shortest and longest time that an answer is used: a TTL of 0 must not mean a question for every connection. */
const shortestMs = 1000;
const longestMs = 3_600_000;

/** So long a connection waits for a new answer where there is an old one. DNS that works has answered by then. */
const patienceMs = 200;

/** When DNS does not answer, the last answer goes on for so long after its lifetime, in steps of `stepMs`. */
const staleMs = 86_400_000;
const stepMs = 5000;

/** So long after a question without an answer nobody waits for the next one. */
const impatientMs = 60_000;

/**
 * Addresses by name, with the lifetime of their records.
 *
 * IPv4 first, each family in the order of the answer: a fixed order, so that the first backend is the same for every
 * connection. An old answer is better than none, and none that comes late: the idea is that of RFC 8767.
 */
export class BackendNames {
  readonly #questions: NameQuestions;
  readonly #now: () => number;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<readonly string[]>>();

  constructor(options: BackendNamesOptions = {}) {
    this.#questions = new NameQuestions(options);
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * The addresses of a name in the order in which they are tried; fits `DialOptions.resolve`.
   *
   * Several connections that ask at once share one question, so nobody's signal ends it; whoever asks stops waiting by
   * itself.
   *
   * @throws Error with a `code` (ENOTFOUND, ETIMEOUT, …) when there is none, and none from before
   */
  readonly resolve = async (host: string): Promise<readonly string[]> => {
    const name = host.toLowerCase().replace(/\.$/, "");
    const known = this.#known.get(name);
    if (known !== undefined && this.#now() < known.untilMs) return known.addresses;
    const asking = this.#askOnce(name);
    if (known === undefined || this.#now() > known.staleUntilMs) return await asking;
    if (this.#now() < (known.impatientUntilMs ?? 0)) {
      asking.catch(() => undefined); // asked for those who come later
      return known.addresses;
    }
    return (await within(patienceMs, asking)) ?? this.#goOn(name, known);
  };

  close(): void {
    this.#questions.close();
  }

  #askOnce(name: string): Promise<readonly string[]> {
    let asking = this.#asking.get(name);
    if (asking === undefined) {
      asking = this.#ask(name).finally(() => this.#asking.delete(name));
      this.#asking.set(name, asking);
    }
    return asking;
  }

  async #ask(name: string): Promise<readonly string[]> {
    try {
      return this.#learn(name, await this.#questions.ask(name));
    } catch (error) {
      const known = this.#known.get(name);
      if (known === undefined || isNoSuchName(error) || this.#now() > known.staleUntilMs) {
        this.#known.delete(name);
        throw error;
      }
      return this.#goOn(name, known);
    }
  }

  #learn(name: string, { addresses, lifetimeMs }: NameAnswer): readonly string[] {
    const untilMs = this.#now() + Math.min(Math.max(lifetimeMs, shortestMs), longestMs);
    this.#known.set(name, { addresses, untilMs, staleUntilMs: untilMs + staleMs });
    return addresses;
  }

  /** Nobody has answered: the last answer goes on for a while. */
  #goOn(name: string, known: Known): readonly string[] {
    const nowMs = this.#now();
    this.#known.set(name, { ...known, untilMs: nowMs + stepMs, impatientUntilMs: nowMs + impatientMs });
    return known.addresses;
  }
}
