/** The UDP sockets that a worker takes datagrams from. */

import { type DatagramPorts, serveDatagrams } from "../datagrams.ts";
import type { UdpEndpoint } from "../listen/endpoint.ts";
import { Limits } from "../listen/limits.ts";
import { ListenError } from "../listen/listener.ts";
import type { Journal } from "../record/journal.ts";
import { Throttle } from "../record/throttle.ts";
import { type UdpArrival, UdpListener } from "../relay/udp.ts";
import type { UdpService } from "../service.ts";

/** What serving their clients takes from the worker, as it stands when one comes. */
export type OwnPorts = Omit<DatagramPorts, "journal" | "sources">;

export interface DatagramListenersOptions {
  readonly journal: Journal;
  /** The service that a socket leads to now; undefined where there is none any more. */
  readonly serviceOf: (key: string) => UdpService | undefined;
  readonly ports: () => OwnPorts;
}

/** Complaints about clients, who may have forged their addresses. */
const complaints = { perPeriod: 20, periodMs: 10_000 } as const;

/** How long dropped datagrams are counted before they are told of. */
const droppedMs = 10_000;

/** All of them, by the key of their socket. */
export class DatagramListeners {
  readonly #options: DatagramListenersOptions;
  readonly #open = new Map<string, UdpListener>();
  readonly #sources = new Limits(Number.POSITIVE_INFINITY);
  readonly #complaints = new Throttle(complaints);
  readonly #journal: DatagramPorts["journal"];
  readonly #dropped = new Map<string, number>();

  constructor(options: DatagramListenersOptions) {
    const { journal } = options;
    this.#options = options;
    this.#journal = {
      open: (about) => journal.open(about),
      audited: (signal) => journal.audited(signal),
      hasAudit: journal.hasAudit,
      warn: (trouble) => {
        const message = this.#complaints.admit(trouble.message);
        if (message !== undefined) journal.warn({ ...trouble, message });
      },
    };
  }

  /** Takes datagrams from a socket that is bound at `endpoint`. Rejects with a `ListenError`. */
  async open(key: string, endpoint: UdpEndpoint, descriptor: number): Promise<void> {
    try {
      const listener = await UdpListener.open({
        descriptor,
        server: { address: endpoint.host, port: endpoint.port },
        serve: (arrival) => this.#serve(arrival, key),
        onDropped: () => this.#drop(key),
      });
      this.#open.set(key, listener);
    } catch (cause) {
      throw new ListenError(endpoint, cause);
    }
  }

  /** Lets nobody new in by this socket; the sessions that came from it live on. */
  close(key: string): void {
    this.#open.get(key)?.close();
    this.#open.delete(key);
  }

  closeAll(): void {
    for (const key of this.#open.keys()) this.close(key);
  }

  async #serve(arrival: UdpArrival, key: string): Promise<void> {
    const service = this.#options.serviceOf(key);
    if (service === undefined) return; // its service was taken away
    await serveDatagrams(arrival, service, {
      ...this.#options.ports(),
      journal: this.#journal,
      sources: this.#sources,
    });
  }

  #drop(key: string): void {
    const name = this.#options.serviceOf(key)?.name ?? key;
    const count = this.#dropped.get(name);
    this.#dropped.set(name, (count ?? 0) + 1);
    if (count === undefined) setTimeout(() => this.#tellDropped(name), droppedMs).unref();
  }

  #tellDropped(service: string): void {
    const count = this.#dropped.get(service) ?? 0;
    this.#dropped.delete(service);
    const message = `${count} datagrams were dropped within ${droppedMs / 1000} s: too many came at once`;
    this.#options.journal.warn({ service, code: "udp-dropped", message });
  }
}
