/** Serves the connections of the listening sockets that it is given, by the policy that it is given. */

import { isDeepStrictEqual } from "node:util";
import { hostNames } from "../access/host-names.ts";
import type { Tables } from "../access/tables.ts";
import { Aclexecs } from "../act/aclexec.ts";
import { Lingers } from "../act/linger.ts";
import { Refusals } from "../act/refuse.ts";
import { Spawns } from "../act/spawn.ts";
import { limitStarts, limitStartsOfEach } from "../act/start-rate.ts";
import { type Generation, type Held, LiveTables, type TablesChange } from "../config/live.ts";
import { isSameSnapshot, restore, type Snapshot, snapshotOf } from "../config/snapshot.ts";
import { strictOf } from "../config/strict.ts";
import { serve } from "../connection.ts";
import { History } from "../history.ts";
import { ForwardNames } from "../identify/forward-names.ts";
import { GatewayWatch } from "../identify/gateway-watch.ts";
import { Lookups } from "../identify/lookups.ts";
import type { ListenEndpoint } from "../listen/endpoint.ts";
import { Limits, type Means, roomsFor, type Rooms } from "../listen/limits.ts";
import { Listener } from "../listen/listener.ts";
import type { Programs } from "../platform/commands.ts";
import { defaultGateways } from "../platform/gateways.ts";
import type { Wire } from "../platform/wire.ts";
import type { DrainLimits, Policy } from "../policy.ts";
import type { SharedPorts } from "../ports.ts";
import type { Journal } from "../record/journal.ts";
import { BackendNames } from "../relay/backend-names.ts";
import { BackendLoads } from "../relay/backends.ts";
import type { ChosenRelay } from "../relay/choose.ts";
import { KeepAlives } from "../relay/keep-alive.ts";
import type { OpenFrom } from "../relay/transparent.ts";
import { Throttle } from "../record/throttle.ts";
import type { Service, UdpService } from "../service.ts";
import { Sessions } from "../sessions.ts";
import { DatagramListeners } from "./datagram-listeners.ts";
import {
  type Base,
  newsOf,
  type Orders,
  type TablesNews,
  type WentBack,
  type WorkerReport,
} from "./orders.ts";
import { isRefused } from "./recheck.ts";
import { servicesOf } from "./services.ts";
import { udpServicesOf } from "./udp-services.ts";

/** What a worker is made of; everything that touches the machine is handed in. */
export interface WorkerOptions {
  readonly journal: Journal;
  readonly programs: Programs;
  readonly relay: ChosenRelay;
  /** Finds what makes sockets from clients' addresses, for services with `source: client`. */
  readonly sources: () => Promise<OpenFrom>;
  readonly processId: number;
  /** What this process may use; it bounds the clients. */
  readonly means: Means;
  /** Hears of every change of the tables, the first one included. */
  readonly onTables: (news: TablesNews) => void;
}

/** Bounds of what rules can make us do; each is for a whole worker, but `startBurst`, which is for each service. */
const bounds = {
  aclexec: { maxRunning: 64 },
  spawn: { maxRunning: 256 },
  closeMs: 5000,
  startBurst: 100,
  keepAliveMs: 60_000,
  nameWarnings: { perPeriod: 100, periodMs: 10_000 },
} as const;

/** Files are being written for so long at most; see config/live.ts. */
const settleMs = 10_000;

/** Lookups of a policy that is no longer in force may still be waited for by a decision. */
const lookupsGraceMs = 60_000;

/** It is configured first, then told to listen; both as often as the policy changes. */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #sessions = new Sessions();
  readonly #listeners = new Map<string, Listener>();
  readonly #datagramListeners: DatagramListeners;
  readonly #rooms: Rooms;
  readonly #refusals: Refusals;
  readonly #lingers: Lingers;
  readonly #keepAlives = new KeepAlives();
  readonly #limits = new Limits(0);
  readonly #history = new History();
  readonly #nameWarnings = new Throttle(bounds.nameWarnings);
  /** What `goBack` brings back. */
  #base: Generation | undefined;
  readonly #gatewayWatch = new GatewayWatch(defaultGateways());
  #orders: Orders | undefined;
  #services: ReadonlyMap<string, Service> = new Map();
  #udpServices: ReadonlyMap<string, UdpService> = new Map();
  #tables: LiveTables | undefined;
  #lookups: Lookups | undefined;
  #forwardNames: ForwardNames | undefined;
  #backendNames = new BackendNames();
  readonly #loads = new BackendLoads();
  #ports: SharedPorts | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#rooms = roomsFor(options.means);
    const { refused, lingering } = this.#rooms;
    // What may be held comes with the policy.
    this.#refusals = new Refusals({ closeMs: bounds.closeMs, holdMs: 0, maxHeld: 0, maxClosing: refused });
    this.#lingers = new Lingers({ maxLingering: lingering });
    this.#datagramListeners = new DatagramListeners({
      journal: options.journal,
      serviceOf: (key) => this.#udpServices.get(this.#orders?.routes.get(key) ?? ""),
      ports: () => {
        if (this.#ports === undefined) throw new Error("a socket without a policy");
        return { ...this.#ports, spawns: this.#ports.act.spawns };
      },
    });
  }

  /** Puts a policy in force. What it does not change is not touched: sessions, tables and what was looked up. */
  async configure({ held, ...orders }: Orders): Promise<TablesNews> {
    const { services } = orders.policy.settings;
    const isFromClients = Object.values(services).some(({ source }) => source === "client");
    const openFrom = isFromClients ? await this.#options.sources() : undefined;
    const before = this.#orders?.policy;
    this.#orders = orders;
    const { settings, inlineTables } = orders.policy;
    const { limits } = settings;
    this.#limit(limits, orders.workers);
    const hasSameNames =
      isDeepStrictEqual(before?.settings.names, settings.names) &&
      isDeepStrictEqual(before?.settings.ident, settings.ident);
    if (!hasSameNames || this.#lookups === undefined) this.#renewLookups(orders.policy);
    const dialling = {
      resolve: this.#backendNames.resolve,
      openFrom,
      before: this.#services,
      namesStay: hasSameNames,
      loads: this.#loads,
    };
    this.#services = servicesOf(services, orders.workers, dialling);
    this.#udpServices = udpServicesOf(services, this.#backendNames.resolve);
    const hasSameTables =
      isDeepStrictEqual(before?.settings.access, settings.access) &&
      isDeepStrictEqual(before?.inlineTables, inlineTables);
    if (!hasSameTables || this.#tables === undefined) await this.#renewTables(orders, held);
    // Without the first answers DynDNS clients would be refused; names that go unanswered may not hold up the start.
    if (!hasSameNames) await this.#forwardNames?.settled(AbortSignal.timeout(2 * settings.names.timeout + 1));
    if (this.#tables === undefined || this.#lookups === undefined) throw new Error("a policy without tables");
    this.#ports ??= this.#portsOf(orders.policy, this.#tables, this.#lookups);
    const hasSameLimits =
      isDeepStrictEqual(before?.settings.limits, limits) &&
      isDeepStrictEqual(before?.settings.aclexec, settings.aclexec) &&
      isDeepStrictEqual(before?.settings.banners, settings.banners);
    this.#ports = hasSameLimits
      ? { ...this.#ports, tables: this.#tables, lookups: this.#lookups, ...this.#forwardPort() }
      : this.#portsOf(orders.policy, this.#tables, this.#lookups);
    return this.#news();
  }

  /** Takes the limits of a policy; what is above a lower one already stays until it ends. */
  #limit(limits: Policy["settings"]["limits"], workers: number): void {
    const { clients, refused } = this.#rooms;
    const share = limits.connections === "auto" ? clients : Math.ceil(limits.connections / workers);
    this.#limits.resize(Math.min(clients, share));
    const maxHeld = limits.held === "auto" ? refused : Math.min(refused, limits.held);
    this.#refusals.limit({ maxHeld, holdMs: limits.holdTime });
    this.#options.relay.buffers?.limit({ allBytes: limits.buffers, largestBytes: limits.sessionBuffer });
  }

  /** Accepts from a socket that is bound at `endpoint`. Rejects with a `ListenError`. */
  async listen(key: string, endpoint: ListenEndpoint, descriptor: number): Promise<void> {
    if (endpoint.kind === "udp") return await this.#datagramListeners.open(key, endpoint, descriptor);
    const listener = await Listener.open({
      descriptor,
      endpoint,
      bare: this.#options.relay.bare,
      onConnection: (client) => this.#accept(client, key),
    });
    this.#listeners.set(key, listener);
  }

  /** Stops to accept from a socket; the connections that came from it live on. */
  unlisten(key: string): void {
    this.#listeners.get(key)?.close();
    this.#listeners.delete(key);
    this.#datagramListeners.close(key);
  }

  /** Stops to accept at all. */
  unlistenAll(): void {
    for (const key of this.#listeners.keys()) this.unlisten(key);
    this.#datagramListeners.closeAll();
  }

  /** Ends each session at its limit, but for those that `stop` ends with all others at that moment. */
  drain({ byService, otherMs, allMs, spreadMs }: DrainLimits): void {
    for (const service of this.#sessions.services()) {
      const limitMs = byService.get(service) ?? otherMs;
      if (limitMs > 0 && (limitMs !== allMs || spreadMs > 0))
        this.#sessions.limitDrain(service, limitMs, spreadMs);
    }
  }

  /** Resolves when the last session has ended, by itself or by `stop`; nothing of the worker keeps the process alive then. */
  async ended(): Promise<void> {
    await this.#sessions.ended();
    this.#tables?.close();
    this.#lookups?.close();
    this.#forwardNames?.close();
    this.#backendNames.close();
  }

  /** Ends every session at once; `ended` resolves soon after. */
  stop(): void {
    this.#sessions.stop("drain");
    this.#refusals.close();
    this.#lingers.close();
  }

  /** Ends one session; false when there is none of that id. */
  kick(id: string): boolean {
    return this.#sessions.cut(id, "kicked");
  }

  /**
   * Chooses the tables that `goBack` brings back.
   *
   * @param isCopied whether the tables themselves come with the answer
   */
  keepBase(isCopied: boolean): Base {
    const base = this.#history.base(performance.now());
    this.#base = base;
    if (base === undefined) return { generation: 0 };
    return { generation: base.number, ...(isCopied && { tables: snapshotOf(base) }) };
  }

  /** The tables of now are wanted: nothing before them comes back. */
  confirm(): void {
    this.#base = undefined;
    this.#history.confirm(performance.now());
  }

  /**
   * Puts the tables in force again that `keepBase` has chosen, until a file changes.
   *
   * @param given those that another worker has chosen, for one that has no choice of its own
   * @returns undefined where neither is there, or no tables yet: nothing has happened then
   */
  async goBack(given?: Snapshot): Promise<WentBack | undefined> {
    const base = this.#base && { made: this.#base, from: snapshotOf(this.#base) };
    const from = base?.from ?? given;
    if (from === undefined || this.#tables === undefined) return undefined;
    if (!isSameSnapshot(from, snapshotOf(this.#tables.current))) {
      const older = base?.made ?? (await restore(from));
      this.#tables.hold(older);
    }
    this.confirm();
    const { heldSince } = this.#tables;
    return { news: this.#news(), ...(heldSince !== undefined && { heldSince }) };
  }

  /** Sessions that are open, decided or not. */
  get sessions(): number {
    return this.#sessions.size;
  }

  /** Also of a worker that has nothing to do yet: it is told of in status, too. */
  report(): WorkerReport {
    const { journal, processId } = this.#options;
    return {
      pid: processId,
      sessions: journal.sessions().map((session) => {
        const backendFrom = this.#sessions.backendFrom(session.id);
        return backendFrom === undefined ? session : { ...session, backendFrom };
      }),
      counters: journal.counters(),
      sinks: journal.sinks(),
      backends: new Map(
        Array.from(this.#services).flatMap(([name, { target }]) =>
          target.kind === "backend" ? [[name, target.backends.health()] as const] : [],
        ),
      ),
      forwardNames: this.#forwardNames?.snapshot() ?? [],
    };
  }

  #accept(client: Wire, key: string): void {
    const service = this.#services.get(this.#orders?.routes.get(key) ?? "");
    // A client that the kernel gave us after its service was taken away.
    if (service === undefined || this.#ports === undefined) return client.reset();
    // A sender of PROXY headers stands for its clients, and tells who they are.
    if (service.proxies === undefined) this.#lookForGateway(client.remoteAddress);
    void serve(client, service, this.#ports);
  }

  #lookForGateway(address: string | undefined): void {
    const message = this.#gatewayWatch.see(address);
    const speaksForAll = this.#orders?.recordsTables === true;
    if (message !== undefined && speaksForAll) this.#options.journal.warn({ code: "one-gateway", message });
  }

  #renewLookups({ settings: { names, ident } }: Policy): void {
    const old = this.#lookups;
    if (old !== undefined) setTimeout(() => old.close(), lookupsGraceMs).unref();
    this.#forwardNames?.close();
    this.#forwardNames = names.forward ? new ForwardNames({ ...names, timeoutMs: names.timeout }) : undefined;
    if (this.#tables !== undefined) this.#followNames(this.#tables.current.tables);
    this.#backendNames.close();
    this.#backendNames = new BackendNames(names);
    this.#lookups = new Lookups({
      reverse: names.reverse,
      timeoutMs: names.timeout,
      servers: names.servers,
      hostsFile: names.hostsFile,
      identTimeoutMs: ident.timeout,
      maxInFlight: names.inFlight,
      cacheEntries: names.cache,
      warn: (message) => {
        const admitted = this.#nameWarnings.admit(message);
        if (admitted !== undefined) this.#options.journal.warn({ code: "host-name", message: admitted });
      },
    });
  }

  async #renewTables(
    { policy: { settings, inlineTables }, firstGeneration }: Orders,
    held: Held | undefined,
  ): Promise<void> {
    const old = this.#tables;
    // New tables take the files as they are; those of now know what they were before, and see that one is half written.
    await old?.settled(AbortSignal.timeout(settleMs));
    const firstNumber = old === undefined ? firstGeneration : old.current.number + 1;
    const options = {
      ...settings.access,
      strict: strictOf(settings),
      inline: inlineTables,
      firstNumber,
      onChange: (change: TablesChange) => this.#tellOf(change),
    };
    this.#tables = await LiveTables.open(options, held);
    old?.close();
  }

  /** Follows the host names of the tables in force through DNS, where the policy wants that. */
  #followNames(tables: Tables): void {
    const leftOut = this.#forwardNames?.setNames(hostNames(tables)) ?? 0;
    if (leftOut === 0 || this.#orders?.recordsTables !== true) return;
    const message = `${leftOut} host names of the tables are not looked up: too many`;
    this.#options.journal.warn({ code: "forward-names", message });
  }

  #tellOf({ generation, kept, refused, isBack, isHeld }: TablesChange): void {
    const { journal } = this.#options;
    const news = { ...generation, generation: generation.number };
    if (this.#orders?.recordsTables === true) {
      if (kept !== undefined && refused !== undefined)
        journal.tables({ ...news, diagnostics: [kept, ...refused] });
      else if (kept !== undefined) journal.warn(kept);
      else if (news.generation > this.#orders.recordedGeneration) journal.tables(news);
    }
    // Tables that are just being opened tell of themselves when they are ours.
    const isOurs = this.#tables?.current === generation;
    if (isOurs) this.#options.onTables(this.#news());
    else if (kept === undefined) this.#options.onTables(newsOf({ ...news, ...(isHeld && { isHeld }) }));
    if (kept !== undefined || isBack === true) return;
    this.#history.add(generation, performance.now());
    this.#followNames(generation.tables);
    if (this.#orders?.policy.settings.access.recheck === "cut") void this.#recheck(generation.tables);
  }

  /** Cuts the sessions that the new tables would refuse. */
  async #recheck(tables: Tables): Promise<void> {
    await Promise.all(
      this.#sessions.judged().map(async ({ id, judged, cut }) => {
        if (judged !== undefined && (await isRefused(judged, tables, this.#lookups, cut.signal)))
          this.#sessions.cut(id, "kicked", "policy_revoked");
      }),
    );
  }

  #news(): TablesNews {
    if (this.#tables === undefined) throw new Error("not configured");
    const { current, kept, heldSince } = this.#tables;
    return newsOf({
      ...current,
      generation: current.number,
      diagnostics: [...kept, ...current.diagnostics],
      ...(heldSince !== undefined && { isHeld: true }),
    });
  }

  #forwardPort(): Pick<SharedPorts, "forwardNames"> {
    return { forwardNames: this.#forwardNames };
  }

  #portsOf({ settings }: Policy, tables: LiveTables, lookups: Lookups): SharedPorts {
    const { journal, relay, processId, programs } = this.#options;
    const rate = { perMinute: settings.limits.startsPerMinute, burst: bounds.startBurst };
    return {
      journal,
      limits: this.#limits,
      tables,
      lookups,
      ...this.#forwardPort(),
      aclexecs: new Aclexecs({
        programs: limitStarts(programs, rate),
        timeoutMs: settings.aclexec.timeout,
        ...bounds.aclexec,
      }),
      programsOf: limitStartsOfEach(programs, rate),
      act: {
        spawns: new Spawns(bounds.spawn),
        refusals: this.#refusals,
        bannerLimits: { maxBytes: settings.banners.size, timeoutMs: settings.banners.timeout },
        keepAliveMs: bounds.keepAliveMs,
      },
      lingers: this.#lingers,
      relay: relay.relay,
      bare: relay.bare,
      keepAlives: this.#keepAlives,
      processId,
      sessions: this.#sessions,
    };
  }
}
