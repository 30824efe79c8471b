/** The addresses of the host names in the tables, kept fresh in the background (`names.forward`). */

import { setMaxListeners } from "node:events";
import type { NameStatus } from "../access/types.ts";
import type { Family } from "./addresses.ts";
import { parseAddress, scopeOf } from "./addresses.ts";
import { HostsFile } from "./hosts-file.ts";
import { statusOf } from "./resolver-status.ts";
import { Slots } from "./slots.ts";
import { SystemResolver } from "./system-resolver.ts";

/** Bounds of the background look-ups. */
export interface ForwardNamesOptions {
  /** Milliseconds for one question. */
  readonly timeoutMs: number;
  /** "address" or "address:port"; empty = the system's. */
  readonly servers: readonly string[];
  /** "" = none. */
  readonly hostsFile: string;
  /** Hears of each name whose addresses have changed: for the log. */
  readonly changed?: (name: ForwardName) => void;
  /** Shortest time between two questions for one name, in milliseconds; for tests. */
  readonly minRefreshMs?: number;
  /** Monotonic milliseconds; for tests. */
  readonly now?: () => number;
}

/** What is known of one name; for `status` and `match --trace`. */
export interface ForwardName {
  readonly name: string;
  /** Canonical text of both families; at most `maxAddresses`. */
  readonly addresses: readonly string[];
  /** Milliseconds since DNS last gave an answer for this name; absent = never. */
  readonly ageMs?: number;
  /** How the last question ended; "pending" = it has not ended yet. A "timeout" beside addresses: they are the last good ones. */
  readonly status: NameStatus | "pending";
}

/** Of one name; a name with more addresses is nobody's home. */
export const maxAddresses = 64;
/** Names beyond this number are not looked up. */
export const maxNames = 10_000;

/**
 * Knows which names in the tables an address belongs to, without ever asking for a connection.
 *
 * A record is asked for again when it ends. While DNS is away the last good addresses stay, three days at most (RFC 8767 §5);
 * when DNS says that there are none, there are none from then on: the address may be somebody else's by now.
 * Loopback, unspecified and multicast answers do not count: whoever owns the name could name our own address.
 */
export class ForwardNames {
  readonly #options: Required<Omit<ForwardNamesOptions, "changed">> & Pick<ForwardNamesOptions, "changed">;
  readonly #resolver: SystemResolver;
  readonly #hosts: HostsFile;
  readonly #slots = new Slots(inFlight);
  readonly #closed = new AbortController();
  readonly #entries = new Map<string, Entry>();
  readonly #byAddress = new Map<string, readonly string[]>();
  #basis = "";
  #timer: NodeJS.Timeout | undefined;
  #wakeAt = Infinity;

  /** @throws TypeError (ERR_INVALID_IP_ADDRESS) where a server is no numeric address */
  constructor(options: ForwardNamesOptions) {
    this.#options = { minRefreshMs: 5000, now: () => performance.now(), ...options };
    this.#resolver = new SystemResolver({ ...options, now: this.#options.now });
    this.#hosts = new HostsFile(options.hostsFile);
    setMaxListeners(0, this.#closed.signal); // every name in line listens to it
  }

  /**
   * Sets the names to follow: those of the tables in force. New ones are asked for at once, the others go on.
   *
   * @param names host name patterns, whole names only; what is no host name is passed over
   * @returns how many names were left out, because there are too many
   */
  setNames(names: Iterable<string>): number {
    const wanted = new Set<string>();
    let leftOut = 0;
    for (const each of names) {
      const name = each.toLowerCase();
      if (wanted.has(name) || !isHostName.test(name)) continue;
      if (wanted.size < maxNames) wanted.add(name);
      else leftOut++;
    }
    for (const entry of this.#entries.values()) {
      if (wanted.has(entry.name)) continue;
      this.#entries.delete(entry.name);
      this.#index(entry, []);
    }
    for (const name of wanted) if (!this.#entries.has(name)) this.#entries.set(name, newEntry(name));
    this.#tick();
    return leftOut;
  }

  /** The names whose addresses hold this one, in lower case. Asks nobody; costs one look into a map. */
  namesOf(address: string): readonly string[] {
    const parsed = parseAddress(address);
    if (parsed === undefined || parsed.zone !== undefined) return none;
    return this.#byAddress.get(parsed.text) ?? none;
  }

  /** Waits until every name has been asked for once, or the signal. Never rejects. */
  async settled(signal: AbortSignal): Promise<void> {
    const first = [...this.#entries.values()].flatMap(({ first }) => first ?? []);
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.race([Promise.all(first), aborted]);
  }

  /** Every name with its addresses and their age, in the order of the tables. */
  snapshot(): readonly ForwardName[] {
    return [...this.#entries.values()].map((entry) => this.#describe(entry));
  }

  /** Ends the background work; what is known stays readable. */
  close(): void {
    this.#closed.abort();
    clearTimeout(this.#timer);
    this.#resolver.close();
  }

  /** Asks for every name that is due, and comes again when the next one is. */
  #tick(): void {
    const now = this.#options.now();
    const basis = `${this.#resolver.generation()} ${this.#hosts.stamp()}`;
    const everything = basis !== this.#basis;
    this.#basis = basis;
    this.#wakeAt = Infinity;
    for (const entry of this.#entries.values()) {
      if (entry.isAsking) continue;
      if (everything || entry.dueAt <= now) {
        const asked = this.#refresh(entry);
        entry.first ??= asked;
      } else this.#wake(entry.dueAt);
    }
    this.#wake(now + checkEveryMs);
  }

  /** Sees to it that there is a tick at this time; a little late, so that many names share one. */
  #wake(at: number): void {
    if (at >= this.#wakeAt || this.#closed.signal.aborted) return;
    this.#wakeAt = at;
    clearTimeout(this.#timer);
    const waitMs = Math.max(at - this.#options.now(), this.#options.minRefreshMs / 10);
    this.#timer = setTimeout(() => this.#tick(), waitMs).unref();
  }

  async #refresh(entry: Entry): Promise<void> {
    entry.isAsking = true;
    const release = await this.#slots.take(this.#closed.signal);
    if (release === undefined) return;
    try {
      const answers = await Promise.all([this.#ask(entry.name, 4), this.#ask(entry.name, 6)]);
      if (this.#closed.signal.aborted || this.#entries.get(entry.name) !== entry) return;
      const addresses = this.#learn(entry, answers);
      if (String(addresses) === String(entry.addresses)) return;
      this.#index(entry, addresses);
      this.#options.changed?.(this.#describe(entry));
    } finally {
      entry.isAsking = false;
      release();
      this.#wake(entry.dueAt);
    }
  }

  async #ask(name: string, family: Family): Promise<Answer> {
    const inHosts = this.#hosts.addressesOf(name, family);
    if (inHosts !== undefined)
      return { addresses: inHosts.addresses, status: "ok", lifetimeMs: maxRefreshMs };
    const resolver = this.#resolver.current();
    try {
      const records = await (family === 4
        ? resolver.resolve4(name, { ttl: true })
        : resolver.resolve6(name, { ttl: true }));
      const lifetimeMs = Math.min(...records.map(({ ttl }) => ttl * 1000), maxRefreshMs);
      const status = records.length > 0 ? "ok" : "nxdomain";
      return { addresses: records.map(({ address }) => address), status, lifetimeMs };
    } catch (error) {
      return { addresses: [], status: statusOf(error), lifetimeMs: retryMs };
    }
  }

  /** Takes the answers of both families, each for itself, and returns all the addresses that are good now. */
  #learn(entry: Entry, answers: readonly Answer[]): readonly string[] {
    const now = this.#options.now();
    answers.forEach(({ status, addresses }, at) => {
      const isAnswer = status === "ok" || status === "nxdomain";
      if (isAnswer) entry.known[at] = { addresses: addresses.filter(isElsewhere), since: now };
      else if (now - (entry.known[at]?.since ?? now) > maxStaleMs) entry.known[at] = undefined;
    });
    // One family usually has no records at all: the other one tells how the question went.
    const worst = ["error", "refused", "servfail", "timeout", "ok"] as const;
    entry.status = worst.find((status) => answers.some((each) => each.status === status)) ?? "nxdomain";
    const dueMs = answers.filter(({ status }) => status !== "nxdomain").map(({ lifetimeMs }) => lifetimeMs);
    entry.dueAt =
      now + Math.max(Math.min(...(dueMs.length > 0 ? dueMs : [retryMs])), this.#options.minRefreshMs);
    const texts = entry.known.flatMap((known) => known?.addresses ?? []);
    return [...new Set(texts.map((text) => parseAddress(text)?.text ?? text))].slice(0, maxAddresses).sort();
  }

  /** Gives the name its new addresses, and takes it from the old ones. */
  #index(entry: Entry, addresses: readonly string[]): void {
    for (const address of entry.addresses) {
      const others = (this.#byAddress.get(address) ?? none).filter((name) => name !== entry.name);
      if (others.length > 0) this.#byAddress.set(address, others);
      else this.#byAddress.delete(address);
    }
    for (const address of addresses) {
      this.#byAddress.set(address, [...(this.#byAddress.get(address) ?? none), entry.name]);
    }
    entry.addresses = addresses;
  }

  #describe({ name, addresses, status, known }: Entry): ForwardName {
    const since = known.flatMap((each) => each?.since ?? []);
    const ageMs = since.length > 0 ? Math.round(this.#options.now() - Math.min(...since)) : undefined;
    return { name, addresses, status, ...(ageMs !== undefined && { ageMs }) };
  }
}

interface Entry {
  readonly name: string;
  /** The last good answers: IPv4, then IPv6. */
  readonly known: ({ readonly addresses: readonly string[]; readonly since: number } | undefined)[];
  addresses: readonly string[];
  status: NameStatus | "pending";
  dueAt: number;
  isAsking: boolean;
  /** The first search. */
  first?: Promise<void>;
}

interface Answer {
  readonly addresses: readonly string[];
  readonly status: NameStatus;
  /** When to ask again. */
  readonly lifetimeMs: number;
}

const none: readonly string[] = [];
/** A dot or not, but a letter somewhere: numbers are addresses, not names. */
const isHostName = /^(?=.{1,253}$)(?=.*[a-z])[a-z0-9_][a-z0-9_-]*(\.[a-z0-9_-]+)*$/;
const inFlight = 32;
/** How often a change of resolv.conf and of the hosts file is looked for. */
const checkEveryMs = 5000;
/** Without an answer, or where the name has no address, it is asked for again so soon. */
const retryMs = 10_000;
const maxRefreshMs = 3_600_000;
const maxStaleMs = 3 * 24 * 3_600_000;

function newEntry(name: string): Entry {
  return { name, known: [], addresses: [], status: "pending", dueAt: 0, isAsking: false };
}

function isElsewhere(text: string): boolean {
  const address = parseAddress(text);
  return address !== undefined && scopeOf(address) === "other";
}
