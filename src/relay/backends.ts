/** The backends of one service, in order of preference; one that failed rests for a while. */

import type { Wire } from "../platform/wire.ts";
import { dial, DialError, type BackendAddress, type DialOptions } from "./dial.ts";
import type { Relayed } from "./relay.ts";

export interface BackendsOptions {
  /** The first one is preferred; at least one. */
  readonly addresses: readonly BackendAddress[];
  readonly resolve?: NonNullable<DialOptions["resolve"]>;
  /** Finds how many sessions an address has, those of a time before a reload included; absent = none is known. */
  readonly loadOf?: ((address: BackendAddress) => BackendLoad) | undefined;
  /** How long a backend rests that was refused or timed out; doubled each time it fails again; default 5 s. */
  readonly restMs?: number;
  /** The longest rest; default 60 s. */
  readonly maxRestMs?: number;
  /** Milliseconds that never go back; another one only in tests. */
  readonly now?: () => number;
}

/** When a backend has fallen and when it has risen again, by what clients meet. */
export interface HealthRules {
  /** Dials that fail in a row before it rests; while it has not risen again, each one makes it rest. */
  readonly fall: number;
  /** Dials that succeed in a row after a rest before it is as good as ever. */
  readonly rise: number;
}

/** A backend has fallen or risen. */
export interface HealthTurn {
  readonly backend: BackendAddress;
  readonly isUp: boolean;
  /** For the log. */
  readonly message: string;
}

/** How to dial, and how to judge what becomes of it. */
export interface BackendDialOptions extends Omit<DialOptions, "resolve"> {
  /** Absent = one dial is enough for both. */
  readonly health?: HealthRules;
  /** Sessions that each backend may have at once, those that are being dialled included; one that is full is passed over. */
  readonly maxPerBackend?: number | undefined;
  /** Called when a backend falls, not again before it has risen; and when it rises. */
  readonly onTurn?: ((turn: HealthTurn) => void) | undefined;
}

/** A connection, and which backend it is to; `ended` has to be called for each. */
export interface Dialled {
  readonly wire: Wire;
  readonly backend: BackendAddress;
  /** What was tried before, as `DialError.tried`. */
  readonly tried: readonly string[];
}

/** What is known of one backend, for the status page. */
export interface BackendHealth {
  readonly address: BackendAddress;
  /** Dials that failed since the last one that did not; of one outage, those that had begun when the rest did are not counted. */
  readonly failures: number;
  /** 0 = not resting. */
  readonly restsForMs: number;
  /** Sessions that it closed at once, without a byte. */
  readonly quickCloses: number;
  /** Sessions that it has now, those that are being dialled included. */
  readonly sessions: number;
}

/** Sessions of one address of a service; shared by all backends that there ever were of it, since a reload ends no session. */
export interface BackendLoad {
  sessions: number;
}

/** The loads of all services, for as long as a worker lives. */
export class BackendLoads {
  readonly #loads = new Map<string, BackendLoad>();

  of(service: string, address: BackendAddress): BackendLoad {
    const key = `${service} ${printBackend(address)}`;
    const load = this.#loads.get(key) ?? { sessions: 0 };
    this.#loads.set(key, load);
    return load;
  }
}

interface Backend {
  readonly address: BackendAddress;
  readonly load: BackendLoad;
  failures: number;
  /** Since it has fallen; 0 = it has not. */
  rests: number;
  restsUntilMs: number;
  /** Ever: tells a dial whether a rest has begun since it has. */
  restsBegun: number;
  /** Dials that it has answered since its last rest. */
  answers: number;
  /** One connection is trying a backend whose rest is over; others go elsewhere until it has shown that it works. */
  isOnTrial: boolean;
  quickCloses: number;
  /** It has been said that it may not expect a PROXY header. */
  isDoubted: boolean;
}

/** Something that an administrator should look at. */
export interface Doubt {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** A session that its backend ends so soon has hardly been one. */
const quickMs = 2000;

/**
 * Health is passive: only what real clients meet counts, nothing ever connects to a backend on its own (mysqld counts a
 * bare connect as an error and blocks the host after so many).
 */
export class Backends {
  readonly #backends: readonly Backend[];
  readonly #options: BackendsOptions;
  readonly #now: () => number;

  constructor(options: BackendsOptions) {
    if (options.addresses.length === 0) throw new RangeError("no backends");
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#backends = options.addresses.map((address) => ({
      address,
      load: options.loadOf?.(address) ?? { sessions: 0 },
      failures: 0,
      rests: 0,
      restsUntilMs: 0,
      restsBegun: 0,
      answers: 0,
      isOnTrial: false,
      quickCloses: 0,
      isDoubted: false,
    }));
  }

  /**
   * Dials the first backend that answers, all within `connectTimeoutMs`, of which each gets an even share of what is
   * left. Those at rest come last: when nothing else answers, they are tried too. Those that are full are not.
   *
   * @throws DialError with everything that was tried, and the cause of the last
   */
  async dial(options: BackendDialOptions): Promise<Dialled> {
    const { health = atOnce, maxPerBackend = Number.POSITIVE_INFINITY, onTurn } = options;
    const deadlineMs = performance.now() + options.connectTimeoutMs;
    let failed: DialError | undefined;
    const all = this.#inOrder();
    // One that is full now stays so for this client: the others share its time among them.
    const order = all.filter(({ load }) => load.sessions < maxPerBackend);
    const tried =
      order.length === all.length ? [] : all.filter((each) => !order.includes(each)).map(fullWords);
    const { resolve } = this.#options;
    for (const [index, backend] of order.entries()) {
      // Others may have taken its last place while we waited for those before it.
      if (backend.load.sessions >= maxPerBackend) {
        tried.push(fullWords(backend));
        continue;
      }
      const leftMs = deadlineMs - performance.now();
      const connectTimeoutMs = Math.max(1, leftMs / (order.length - index));
      const { restsBegun } = backend;
      const isTrial = backend.rests > 0;
      if (isTrial) backend.isOnTrial = true;
      backend.load.sessions += 1;
      try {
        // Field by field: an object of one shape is made many times faster than one of others' pieces.
        const { signal, client, bare, keepAliveMs, header, open } = options;
        const wire = await dial(backend.address, {
          connectTimeoutMs,
          signal,
          client,
          bare,
          keepAliveMs,
          header,
          open,
          resolve,
        });
        if (backend.failures > 0 || backend.rests > 0) noteAnswer(backend, health, onTurn);
        return { wire, backend: backend.address, tried };
      } catch (error) {
        backend.load.sessions -= 1;
        if (!(error instanceof DialError)) throw error;
        tried.push(...error.tried);
        if (isGivenUp(error)) throw new DialError(error.endCause, tried, error.cause);
        if (error.isAboutBackend && backend.restsBegun === restsBegun)
          this.#noteFailure(backend, health, error, onTurn);
        failed = error;
      } finally {
        if (isTrial) backend.isOnTrial = false;
      }
    }
    throw new DialError(failed?.endCause ?? "backend_unreachable", tried, failed?.cause);
  }

  /**
   * Notes that a session has ended, and how. A close at once is counted, not held against the backend.
   *
   * @param how.afterMs the age of the session
   * @param how.hadHeader a PROXY header went first
   * @returns what to say of it: one that ends a session before the client has said a word may not expect the header; told once
   */
  ended(
    address: BackendAddress,
    { upBytes, downBytes, cause }: Relayed,
    how: { readonly afterMs: number; readonly hadHeader: boolean },
  ): Doubt | undefined {
    const backend = this.#backends.find((each) => each.address === address);
    if (backend === undefined) return undefined;
    backend.load.sessions -= 1;
    const byBackend = cause === "backend_closed" || cause === "backend_reset";
    if (!byBackend || how.afterMs > quickMs) return undefined;
    if (downBytes === 0) backend.quickCloses += 1;
    // Once the client has spoken, it may be the end of an ordinary short session.
    if (!how.hadHeader || upBytes > 0 || backend.isDoubted) return undefined;
    backend.isDoubted = true;
    return {
      code: "proxy-unexpected",
      message: `${printBackend(address)} has ended a session ${Math.round(how.afterMs)} ms after our PROXY header, before the client spoke`,
      hint: 'if it does not expect one, leave "send" out (sshd: use "exec" or "source: client"); mysqld expects it with proxy-protocol-networks',
    };
  }

  health(): readonly BackendHealth[] {
    return this.#backends.map(({ address, failures, restsUntilMs, quickCloses, load }) => ({
      address,
      failures,
      restsForMs: Math.max(0, restsUntilMs - this.#now()),
      quickCloses,
      sessions: load.sessions,
    }));
  }

  #inOrder(): readonly Backend[] {
    if (this.#backends.length === 1) return this.#backends;
    const isAway = (backend: Backend): boolean => backend.isOnTrial || backend.restsUntilMs > this.#now();
    return [...this.#backends.filter((each) => !isAway(each)), ...this.#backends.filter(isAway)];
  }

  /**
   * To be called only where no rest has begun since the dial did: what many clients meet at once is one outage, and makes the
   * backend rest once.
   */
  #noteFailure(
    backend: Backend,
    { fall }: HealthRules,
    { tried }: DialError,
    onTurn: BackendDialOptions["onTurn"],
  ): void {
    const { restMs = 5000, maxRestMs = 60_000 } = this.#options;
    backend.failures += 1;
    backend.answers = 0;
    if (backend.restsUntilMs > this.#now()) return; // tried because nothing else answers
    if (backend.rests === 0 && backend.failures < fall) return;
    backend.rests += 1;
    backend.restsBegun += 1;
    const forMs = Math.min(restMs * 2 ** Math.min(backend.rests - 1, 30), maxRestMs);
    backend.restsUntilMs = this.#now() + forMs;
    if (backend.rests > 1) return;
    const dials = backend.failures === 1 ? "a dial" : `${backend.failures} dials in a row`;
    const message = `backend ${printBackend(backend.address)} rests for ${Math.ceil(forMs / 1000)} s: ${dials} failed, the last one with ${tried.join(", ")}`;
    onTurn?.({ backend: backend.address, isUp: false, message });
  }
}

function fullWords({ address }: Backend): string {
  return `${printBackend(address)} is full`;
}

const atOnce: HealthRules = { fall: 1, rise: 1 };

/** A backend that has not risen yet keeps the length of its rests, so that one that comes and goes rests ever longer. */
function noteAnswer(backend: Backend, { rise }: HealthRules, onTurn: BackendDialOptions["onTurn"]): void {
  backend.failures = 0;
  backend.restsUntilMs = 0;
  if (backend.rests === 0) return;
  backend.answers += 1;
  if (backend.answers < rise) return;
  backend.rests = 0;
  const message = `backend ${printBackend(backend.address)} answers again`;
  onTurn?.({ backend: backend.address, isUp: true, message });
}

/**
 * Nobody waits any more. What went wrong in ourselves ("internal": no descriptors, no local port left towards this
 * backend; a source address of the other family) says nothing about the backend either, but another one may still be reached.
 */
function isGivenUp({ endCause }: DialError): boolean {
  return endCause === "client_gone" || endCause === "drain" || endCause === "kicked";
}

function printBackend(address: BackendAddress): string {
  if (address.kind === "unix") return `unix:${address.path.replace("\0", "@")}`;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}
