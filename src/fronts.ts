/** The listening sockets of the daemon: bound once, kept over every reload that still wants them. */

import type { KeptSockets } from "./kept-sockets.ts";
import { printEndpoint } from "./listen/endpoint.ts";
import { bind, type Bound } from "./listen/listener.ts";
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
   * @returns what is new, and what the plans do without
   *
   * Rejects with a `ListenError`; what was bound before that is closed again.
   */
  async open(plans: readonly ListenPlan[]): Promise<FrontChange> {
    const wanted = new Map(plans.map((plan) => [plan.key, plan]));
    const closed = [...this.#open].flatMap(([key, front]) => (wanted.has(key) ? [] : [front]));
    const opened: Front[] = [];
    try {
      for (const plan of wanted.values()) {
        if (this.#open.has(plan.key)) continue;
        const descriptor = plan.descriptor ?? this.#kept.take(plan);
        const front = {
          plan,
          bound: await bind({ ...plan, ...(descriptor !== undefined && { descriptor }) }),
        };
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
