/** The listening sockets of the daemon: bound once, kept over every reload that still wants them. */

import { setTimeout as pause } from "node:timers/promises";
import type { KeptSockets } from "./kept-sockets.ts";
import { printEndpoint } from "./listen/endpoint.ts";
import { bind, type BindOptions, type Bound } from "./listen/listener.ts";
import type { ListenPlan } from "./policy.ts";

/** One bound socket, and the plan that it came from. */
export interface Front {
  readonly plan: ListenPlan;
  readonly bound: Bound;
}

/** What a new set of plans changes. */
export interface FrontChange {
  readonly opened: readonly Front[];
  readonly closed: readonly Front[];
}

/** A socket that cannot be had yet is tried again after so long. */
const pauseMs = 50;

/** Prints a front as records name it: "sshd on 127.0.0.1:22". */
export function printFront({ plan, bound }: Front): string {
  return `${plan.service} on ${printEndpoint(bound.address)}`;
}

/** All that are bound, by their key. */
export class Fronts {
  readonly #open = new Map<string, Front>();
  readonly #isOwner: boolean;
  readonly #kept: Pick<KeptSockets, "take">;

  /**
   * @param isOwner false where the listeners of this same process close the descriptors
   * @param kept sockets that are bound already, by a daemon before us
   */
  constructor(isOwner: boolean, kept: Pick<KeptSockets, "take">) {
    this.#isOwner = isOwner;
    this.#kept = kept;
  }

  get all(): ReadonlyMap<string, Front> {
    return this.#open;
  }

  /**
   * Binds what the plans have and we have not. Nothing is closed yet, so that everything can be taken back.
   *
   * @param patienceMs how long what cannot be bound is tried again, all together; what has been taken is held meanwhile
   * @returns what is new, and what the plans do without
   *
   * Rejects with a `ListenError`; what was bound before that is closed again.
   */
  async open(plans: readonly ListenPlan[], patienceMs = 0): Promise<FrontChange> {
    const untilMs = performance.now() + patienceMs;
    const wanted = new Map(plans.map((plan) => [plan.key, plan]));
    const closed = [...this.#open].flatMap(([key, front]) => (wanted.has(key) ? [] : [front]));
    const opened: Front[] = [];
    try {
      for (const plan of wanted.values()) {
        if (this.#open.has(plan.key)) continue;
        const descriptor = plan.descriptor ?? this.#kept.take(plan);
        const options = { ...plan, ...(descriptor !== undefined && { descriptor }) };
        const front = { plan, bound: await bindUntil(untilMs, options) };
        this.#open.set(plan.key, front);
        opened.push(front);
      }
    } catch (cause) {
      this.close(opened);
      throw cause;
    }
    return { opened, closed };
  }

  /** Notes to which service each socket leads now. */
  rename(plans: readonly ListenPlan[]): void {
    for (const plan of plans) {
      const front = this.#open.get(plan.key);
      if (front !== undefined) this.#open.set(plan.key, { ...front, plan });
    }
  }

  close(fronts: Iterable<Front>): void {
    for (const { plan, bound } of fronts) {
      this.#open.delete(plan.key);
      if (this.#isOwner) bound.socket.close();
      else bound.socket.forget();
    }
  }
}

/** Tries again until it can be had, or until then; rejects with the `ListenError` of the last try. */
async function bindUntil(untilMs: number, options: BindOptions): Promise<Bound> {
  for (;;) {
    try {
      return await bind(options);
    } catch (cause) {
      if (performance.now() >= untilMs) throw cause;
      await pause(pauseMs);
    }
  }
}
