/** Leads the daemon from start to stop: it owns the listening sockets, the workers serve what comes in by them. */

import type { Settings } from "./config/schema.ts";
import { printEndpoint } from "./listen/endpoint.ts";
import { bind, type Bound } from "./listen/listener.ts";
import { type Inherited, type ListenPlan, listenPlans, type Policy } from "./policy.ts";
import type { Journal } from "./record/journal.ts";
import type { WorkerPort } from "./worker-port.ts";
import type { Answers } from "./platform/channel.ts";
import type { SupervisorCalls } from "./worker-port.ts";
import { type Front, Workforce } from "./workforce.ts";

/** What the daemon is made of; everything that touches the machine is handed in. */
export interface DaemonOptions {
  readonly policy: Policy;
  readonly journal: Journal;
  /** Starts one worker. */
  readonly startWorker: (answers: Answers<SupervisorCalls>) => Promise<WorkerPort>;
  /** Whether workers have processes of their own; without, their listeners close our sockets. */
  readonly hasProcesses: boolean;
  /** Sockets that the service manager holds for us, by name. */
  readonly inherited?: Inherited;
}

/** Bounds how long records may keep us from ending. */
const flushMs = 2000;

/** A running daemon: it is ready when `start` has resolved. */
export class Daemon {
  readonly #options: DaemonOptions;
  readonly #workforce: Workforce;
  readonly #fronts: Map<string, Front>;
  #policy: Policy;

  private constructor(options: DaemonOptions, workforce: Workforce, fronts: Map<string, Front>) {
    this.#options = options;
    this.#workforce = workforce;
    this.#fronts = fronts;
    this.#policy = options.policy;
  }

  /**
   * Binds every listening socket, starts the workers with the first tables, and says that it is ready.
   *
   * @throws an error named "ListenError" when one of the sockets cannot be had; the others are closed again
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const { policy, journal, inherited = new Map() } = options;
    const workforce = new Workforce({
      size: Math.max(1, policy.settings.process.workers),
      start: options.startWorker,
      journal,
      onNews: () => undefined,
    });
    const plans = listenPlans(policy.settings, inherited);
    const fronts = new Map<string, Front>();
    const daemon = new Daemon(options, workforce, fronts);
    try {
      for (const plan of plans) fronts.set(plan.key, { endpoint: plan.endpoint, bound: await bind(plan) });
      await workforce.start({ policy, routes: routesOf(plans) }, fronts);
    } catch (cause) {
      daemon.#closeFronts();
      throw cause;
    }
    journal.ready(daemon.addresses.join(", "));
    return daemon;
  }

  /** Where each service listens, as the kernel says: "sshd on 127.0.0.1:2222". */
  get addresses(): readonly string[] {
    const routes = routesOf(listenPlans(this.#policy.settings, this.#options.inherited ?? new Map()));
    return [...this.#fronts].map(
      ([key, { bound }]) => `${routes.get(key) ?? "?"} on ${printEndpoint(bound.address)}`,
    );
  }

  /** Stops to accept, and resolves when the last session has ended by itself, or by `stop`. */
  async drain(): Promise<void> {
    const { journal } = this.#options;
    const left = await this.#leave();
    const limitMs = this.#policy.settings.process.drainTimeout;
    const limit = limitMs > 0 && left > 0 ? setTimeout(() => void this.stop(), limitMs) : undefined;
    await this.#workforce.ended();
    clearTimeout(limit);
    journal.stopped();
    await journal.close(flushMs);
  }

  /** Stops to accept, and leaves the sessions to the workers, which end after the last one. */
  async handOver(): Promise<void> {
    const { journal } = this.#options;
    const left = await this.#leave();
    this.#workforce.letGo();
    journal.stopped(`${left} sessions go on in their workers`);
    await journal.close(flushMs);
  }

  /** Ends every session at once; `drain` resolves soon after. */
  async stop(): Promise<void> {
    await this.#workforce.stop();
  }

  async #leave(): Promise<number> {
    const left = await this.#workforce.leave();
    this.#closeFronts();
    this.#options.journal.draining(`${left} sessions are left`);
    return left;
  }

  #closeFronts(): void {
    for (const { bound } of this.#fronts.values()) this.#close(bound);
    this.#fronts.clear();
  }

  #close({ socket }: Bound): void {
    if (this.#options.hasProcesses) socket.close();
    else socket.forget();
  }
}

/** Whether SIGTERM leaves the sessions to the workers; they need a process of their own for that. */
export function keepsSessions(settings: Settings, hasServiceManager: boolean): boolean {
  const { onRestart, workers } = settings.process;
  return workers > 0 && (onRestart ?? (hasServiceManager ? "keep" : "drain")) === "keep";
}

function routesOf(plans: readonly ListenPlan[]): Map<string, string> {
  return new Map(plans.map(({ key, service }) => [key, service]));
}
