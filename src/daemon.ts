/** Builds the daemon from its settings, once, and leads it from start to stop: starting, ready, draining, stopped. */

import { isIPv4, type Socket } from "node:net";
import { Aclexecs } from "./act/aclexec.ts";
import { Refusals } from "./act/refuse.ts";
import { Spawns } from "./act/spawn.ts";
import { LiveTables, type TablesChange } from "./config/live.ts";
import type { ServiceSettings, Settings } from "./config/schema.ts";
import { type Ports, serve, type Service } from "./connection.ts";
import { Lingers } from "./act/linger.ts";
import { limitStarts } from "./act/start-rate.ts";
import { Lookups } from "./identify/lookups.ts";
import { parseNetworks } from "./identify/networks.ts";
import { type ListenEndpoint, printEndpoint } from "./listen/endpoint.ts";
import { clientsFor, Limits } from "./listen/limits.ts";
import { Listener } from "./listen/listener.ts";
import type { Programs } from "./platform/commands.ts";
import type { Journal } from "./record/journal.ts";
import type { Relay } from "./relay/relay.ts";

/** What the daemon is made of; everything that touches the machine is handed in. */
export interface DaemonOptions {
  readonly settings: Settings;
  /** Tables whose text was given to us, by the name that stands in place of a path. */
  readonly inlineTables: ReadonlyMap<string, string>;
  readonly journal: Journal;
  readonly programs: Programs;
  readonly relay: Relay;
  readonly processId: number;
  /** How many files this process may have open. */
  readonly maxDescriptors: number;
  /** Sockets that the service manager holds for us, by name. */
  readonly inherited?: ReadonlyMap<string, readonly number[]>;
}

/** Bounds of what rules can make us do; each is for the whole daemon. */
const bounds = {
  aclexec: { maxRunning: 64 },
  spawn: { maxRunning: 256 },
  banner: { maxBytes: 64 * 1024, timeoutMs: 5000 },
  refusal: { maxHeld: 1000, holdMs: 30_000, maxClosing: 1000, closeMs: 5000 },
  linger: { maxLingering: 1000 },
  startBurst: 100,
  keepAliveMs: 60_000,
} as const;

/** Bounds how long records may keep us from ending. */
const flushMs = 2000;

/** A running daemon: it is ready when `start` has resolved. */
export class Daemon {
  /** Where each service listens, as the kernel says: "sshd on 127.0.0.1:2222". */
  readonly addresses: readonly string[];
  readonly #ports: Ports;
  readonly #tables: LiveTables;
  readonly #lookups: Lookups;
  readonly #listeners: readonly Listener[];
  readonly #stop: AbortController;
  readonly #serving: Serving;

  private constructor(parts: Parts, listeners: readonly Listener[], addresses: readonly string[]) {
    this.#listeners = listeners;
    this.addresses = addresses;
    ({ ports: this.#ports, tables: this.#tables, lookups: this.#lookups } = parts);
    ({ stop: this.#stop, serving: this.#serving } = parts);
  }

  /**
   * Loads the tables, binds every listener, and says that it is ready.
   *
   * @throws ListenError when one of the listeners cannot be had; the others are closed again
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const parts = await build(options);
    const listeners: Listener[] = [];
    const addresses: string[] = [];
    try {
      for (const plan of listenPlans(options)) {
        const onConnection = (client: Socket): void =>
          parts.serving.add(serve(client, plan.service, parts.ports));
        const listener = await Listener.open({ ...plan, onConnection });
        listeners.push(listener);
        addresses.push(`${plan.service.name} on ${printEndpoint(listener.address)}`);
      }
    } catch (cause) {
      for (const listener of listeners) listener.close();
      parts.tables.close();
      parts.lookups.close();
      throw cause;
    }
    const daemon = new Daemon(parts, listeners, addresses);
    options.journal.ready(daemon.addresses.join(", "));
    return daemon;
  }

  /** Sessions that are open, decided or not. */
  get sessions(): number {
    return this.#serving.size;
  }

  /** Stops to accept, and resolves when the last session has ended by itself, or by `stop`. */
  async drain(): Promise<void> {
    if (this.#serving.size > 0) this.#ports.journal.draining(`${this.#serving.size} sessions are left`);
    for (const listener of this.#listeners) listener.close();
    await this.#serving.ended();
    this.#tables.close();
    this.#lookups.close();
    this.#ports.journal.stopped();
    await this.#ports.journal.close(flushMs);
  }

  /** Ends every session at once; `drain` resolves soon after. */
  stop(): void {
    this.#stop.abort("drain");
    this.#ports.act.refusals.close();
    this.#ports.lingers.close();
  }
}

/** The connections that are being served. */
class Serving {
  readonly #open = new Set<Promise<void>>();
  #onEmpty: (() => void) | undefined;

  get size(): number {
    return this.#open.size;
  }

  add(connection: Promise<void>): void {
    this.#open.add(connection);
    void connection.finally(() => {
      this.#open.delete(connection);
      if (this.#open.size === 0) this.#onEmpty?.();
    });
  }

  async ended(): Promise<void> {
    if (this.#open.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
  }
}

interface Parts {
  readonly ports: Ports;
  readonly tables: LiveTables;
  readonly lookups: Lookups;
  readonly stop: AbortController;
  readonly serving: Serving;
}

async function build(options: DaemonOptions): Promise<Parts> {
  const { settings, inlineTables, journal, relay, processId, maxDescriptors } = options;
  const { access, aclexec, names, ident, limits } = settings;
  const stop = new AbortController();
  const tables = await LiveTables.open({
    ...access,
    inline: inlineTables,
    onChange: (change) => tellOf(change, journal),
  });
  const lookups = new Lookups({
    reverse: names.reverse,
    timeoutMs: names.timeout,
    servers: names.servers,
    hostsFile: names.hostsFile,
    identTimeoutMs: ident.timeout,
  });
  const refusals = new Refusals(bounds.refusal);
  const lingers = new Lingers(bounds.linger);
  const programs = limitStarts(options.programs, {
    perMinute: limits.startsPerMinute,
    burst: bounds.startBurst,
  });
  const ports: Ports = {
    journal,
    limits: new Limits(limits.connections === "auto" ? clientsFor(maxDescriptors) : limits.connections),
    tables,
    lookups,
    aclexecs: new Aclexecs({ programs, timeoutMs: aclexec.timeout, ...bounds.aclexec }),
    act: {
      programs,
      spawns: new Spawns({ programs, ...bounds.spawn }),
      refusals,
      bannerLimits: bounds.banner,
      keepAliveMs: bounds.keepAliveMs,
    },
    lingers,
    relay,
    processId,
    stop: stop.signal,
  };
  return { ports, tables, lookups, stop, serving: new Serving() };
}

interface ListenPlan {
  readonly service: Service;
  readonly endpoint: ListenEndpoint;
  readonly isIpv6Only: boolean;
  readonly descriptor?: number;
}

/** Every socket to listen on. "[::]:22" takes IPv4 clients too, unless somebody listens on 0.0.0.0:22 or the like. */
function listenPlans({ settings, inherited }: DaemonOptions): ListenPlan[] {
  const endpoints = Object.values(settings.services).flatMap(({ listen }) => listen);
  const ipv4Ports = new Set(
    endpoints.flatMap((each) => (each.kind === "tcp" && isIPv4(each.host) ? [each.port] : [])),
  );
  return Object.entries(settings.services).flatMap(([name, service]) =>
    service.listen.flatMap((endpoint): ListenPlan[] => {
      const plan = { service: serviceOf(name, service), endpoint };
      const isIpv6Only = endpoint.kind === "tcp" && endpoint.port !== 0 && ipv4Ports.has(endpoint.port);
      if (endpoint.kind !== "systemd") return [{ ...plan, isIpv6Only }];
      const descriptors = inherited?.get(endpoint.name) ?? [];
      if (descriptors.length === 0) return [{ ...plan, isIpv6Only: false }];
      return descriptors.map((descriptor) => ({ ...plan, isIpv6Only: false, descriptor }));
    }),
  );
}

function serviceOf(name: string, settings: ServiceSettings): Service {
  const { acceptFrom } = settings.proxyProtocol;
  return {
    name,
    daemon: settings.daemon ?? name,
    ...targetOf(settings),
    refusal: settings.refuse,
    ...(acceptFrom.length > 0 && {
      proxies: { networks: parseNetworks(acceptFrom).networks, timeoutMs: settings.proxyProtocol.timeout },
    }),
    connectTimeoutMs: settings.connectTimeout,
    idleMs: settings.idleTimeout,
    decisionMs: settings.decisionTimeout,
    maxConnections: settings.maxConnections,
  };
}

function targetOf({ backend, exec, proxyProtocol }: ServiceSettings): Pick<Service, "target" | "targetText"> {
  if (exec !== undefined) return { target: { kind: "exec", argv: exec }, targetText: exec.join(" ") };
  if (backend === undefined) throw new Error("a service without a target: the schema lets none through");
  const { send } = proxyProtocol;
  const target = {
    kind: "backend",
    endpoint: backend,
    ...(send !== undefined && { sendProxy: send }),
  } as const;
  return { target, targetText: printEndpoint(backend) };
}

function tellOf({ generation, kept }: TablesChange, journal: Journal): void {
  if (kept !== undefined) journal.warn(kept);
  else journal.tables({ ...generation, generation: generation.number });
}
