/** The listening sockets, of connections and of datagrams, that the service manager keeps for us while we are away: over a restart, and over a crash. */

import { existsSync } from "node:fs";
import type { Front } from "./fronts.ts";
import { closeDescriptor } from "./platform/descriptors.ts";
import type { Notifier, PassedSocket } from "./platform/systemd.ts";
import type { ListenPlan } from "./policy.ts";

/** Tells them apart from those of socket units. */
const prefix = "kept-";

/** More the manager does not take. Source: fdname_is_valid of systemd. */
const maxNameLength = 255;

/** Gives back what was kept, by the key of a plan, and gives new sockets into keeping. */
export class KeptSockets {
  readonly #notifier: Pick<Notifier, "keep" | "forget">;
  /** What came back and was not taken yet, by name. */
  readonly #waiting: Map<string, number>;

  /** @param passed all sockets that came from the service manager */
  constructor(passed: readonly PassedSocket[], notifier: Pick<Notifier, "keep" | "forget">) {
    this.#notifier = notifier;
    this.#waiting = new Map(passed.filter(wasKept).map(({ name, fd }) => [name, fd]));
  }

  /** The descriptor that was kept for this plan; a unix socket whose file is gone leads nobody to us any more. */
  take({ key, endpoint }: ListenPlan): number | undefined {
    const name = nameOf(key);
    const descriptor = this.#waiting.get(name);
    if (descriptor === undefined) return undefined;
    if (endpoint.kind === "unix" && !existsSync(endpoint.path)) return undefined;
    this.#waiting.delete(name);
    return descriptor;
  }

  /** Closes what none of the plans listens on any more. True when there was something. */
  drop(plans: readonly ListenPlan[]): boolean {
    const wanted = new Set(plans.map(({ key }) => nameOf(key)));
    const unwanted = [...this.#waiting].filter(([name]) => !wanted.has(name));
    for (const [name, descriptor] of unwanted) {
      this.#waiting.delete(name);
      this.#notifier.forget(name);
      closeDescriptor(descriptor);
    }
    return unwanted.length > 0;
  }

  /** To be called when somebody listens on them: systemd drops a socket of TCP that nobody listens on. Never rejects. */
  async keep(fronts: Iterable<Front>): Promise<void> {
    for (const { plan, bound } of fronts) {
      const name = nameOf(plan.key);
      if (!isOurs(plan) || name.length > maxNameLength) continue;
      await this.#notifier.keep(name, bound.socket.sendable);
    }
  }

  forget(fronts: Iterable<Front>): void {
    for (const { plan } of fronts)
      if (plan.endpoint.kind !== "systemd") this.#notifier.forget(nameOf(plan.key));
  }
}

/** A socket that was kept, and not passed by a socket unit. */
export function wasKept({ name }: PassedSocket): boolean {
  return name.startsWith(prefix);
}

/** A socket unit holds its own. Of datagrams only those of new clients wait in a listener: sessions have sockets of their own. */
function isOurs({ endpoint }: ListenPlan): boolean {
  return endpoint.kind !== "systemd";
}

/** A name has no colon and nothing but ASCII. */
function nameOf(key: string): string {
  return `${prefix}${encodeURIComponent(key)}`;
}
