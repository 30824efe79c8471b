/** Finds the addresses of a backend that is given by name, and asks again when its record has run out. */

import { lookup, Resolver } from "node:dns/promises";
import { readFile, stat } from "node:fs/promises";
import { isIP } from "node:net";

export interface BackendNamesOptions {
  /** DNS servers as "address" or "address:port"; default: the system's. */
  readonly servers?: readonly string[];
  readonly hostsFile?: string;
  /** Milliseconds that never go back; another one only in tests. */
  readonly now?: () => number;
}

interface Known {
  readonly addresses: readonly string[];
  readonly untilMs: number;
}

/** Shortest and longest time that an answer is used: a TTL of 0 must not mean a question for every connection. */
const shortestMs = 1000;
const longestMs = 3_600_000;

/** How long an answer is used that says nothing of its lifetime: the hosts file, the system's own resolver. */
const withoutLifetimeMs = 5000;

/** When DNS does not answer at all, the last answer goes on for so long, in steps of `withoutLifetimeMs`. */
const staleMs = 86_400_000;

/**
 * Addresses by name, with the lifetime of their records.
 *
 * The hosts file comes first, then DNS (A and AAAA together), then, for what DNS does not know, getaddrinfo, which knows
 * search lists and mDNS. IPv4 first, each family in the order of the answer: a fixed order, so that the first backend
 * is the same for every connection.
 */
export class BackendNames {
  readonly #hostsFile: string;
  readonly #now: () => number;
  readonly #resolver = new Resolver({ timeout: 1000, tries: 3 });
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<readonly string[]>>();
  #hosts:
    | { readonly mtimeMs: number; readonly size: number; readonly names: ReadonlyMap<string, string[]> }
    | undefined;

  constructor(options: BackendNamesOptions = {}) {
    this.#hostsFile = options.hostsFile ?? "/etc/hosts";
    this.#now = options.now ?? (() => performance.now());
    if (options.servers !== undefined && options.servers.length > 0)
      this.#resolver.setServers(options.servers);
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
    let asking = this.#asking.get(name);
    if (asking === undefined) {
      asking = this.#ask(name).finally(() => this.#asking.delete(name));
      this.#asking.set(name, asking);
    }
    return await asking;
  };

  close(): void {
    this.#resolver.cancel();
  }

  async #ask(name: string): Promise<readonly string[]> {
    try {
      const { addresses, lifetimeMs } = await this.#find(name);
      const bounded = Math.min(Math.max(lifetimeMs, shortestMs), longestMs);
      this.#known.set(name, { addresses, untilMs: this.#now() + bounded });
      return addresses;
    } catch (error) {
      const known = this.#known.get(name);
      const isTrouble = !isNoSuchName(error);
      if (known === undefined || !isTrouble || this.#now() > known.untilMs + staleMs) {
        this.#known.delete(name);
        throw error;
      }
      return known.addresses;
    }
  }

  async #find(name: string): Promise<{ addresses: readonly string[]; lifetimeMs: number }> {
    const local = (await this.#readHosts()).get(name);
    if (local !== undefined) return { addresses: local, lifetimeMs: shortestMs };
    const options = { ttl: true } as const;
    const answers = await Promise.allSettled([
      this.#resolver.resolve4(name, options),
      this.#resolver.resolve6(name, options),
    ]);
    const records = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
    if (records.length > 0) {
      return {
        addresses: records.map(({ address }) => address),
        lifetimeMs: Math.min(...records.map(({ ttl }) => ttl)) * 1000,
      };
    }
    const reasons = answers.flatMap((answer) =>
      answer.status === "rejected" ? [answer.reason as unknown] : [],
    );
    const trouble = reasons.find((reason) => !isNoSuchName(reason));
    if (trouble !== undefined) throw trouble;
    const found = await lookup(name, { all: true });
    const addresses = found.map(({ address }) => address).sort((left, right) => isIP(left) - isIP(right));
    return { addresses, lifetimeMs: withoutLifetimeMs };
  }

  /** Read again when it has changed; a missing file has no names. */
  async #readHosts(): Promise<ReadonlyMap<string, string[]>> {
    try {
      const { mtimeMs, size } = await stat(this.#hostsFile);
      if (this.#hosts?.mtimeMs !== mtimeMs || this.#hosts.size !== size) {
        this.#hosts = { mtimeMs, size, names: parseHosts(await readFile(this.#hostsFile, "utf8")) };
      }
      return this.#hosts.names;
    } catch {
      return new Map();
    }
  }
}

/** Lines of an address and its names, `#` begins a comment; hosts(5). */
function parseHosts(text: string): ReadonlyMap<string, string[]> {
  const found = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().toLowerCase().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of names) found.set(name, [...(found.get(name) ?? []), address]);
  }
  for (const addresses of found.values()) addresses.sort((left, right) => isIP(left) - isIP(right));
  return found;
}

function isNoSuchName(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOTFOUND" || code === "ENODATA";
}
