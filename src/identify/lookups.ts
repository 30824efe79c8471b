/** Finds the facts that a decision asks for, and the names that only the record wants. */

import { withLate } from "../access/expand.ts";
import type { Endpoint, Fact, Request } from "../access/types.ts";
import { ExpiringCache } from "./expiring-cache.ts";
import { askIdent } from "./ident.ts";
import { startDeadline } from "../platform/deadline.ts";
import type { FoundName } from "./reverse-dns.ts";
import { ReverseDns } from "./reverse-dns.ts";
import { Slots } from "./slots.ts";

/** Settings of every look-up; in the configuration they are `names` and `ident`. */
export interface LookupOptions {
  /** "never": every name is "unknown" and nothing is asked; "always": `ahead` works too. */
  readonly reverse: "always" | "needed" | "never";
  /** Milliseconds for one name, from the question to its end. */
  readonly timeoutMs: number;
  /** Numeric addresses, with a port where it is not 53; empty = the system's. */
  readonly servers: readonly string[];
  /** "" = none. */
  readonly hostsFile: string;
  /** Milliseconds for one ident query, the connect included, where the rule sets no limit of its own. */
  readonly identTimeoutMs: number;
  /** Where ident services listen; for tests. */
  readonly identPort?: number;
  /** Name look-ups under way at once; the rest wait inside their own limit. */
  readonly maxInFlight?: number;
  /** Names remembered. */
  readonly cacheEntries?: number;
  /** Hears libwrap's words about names that do not lead back, once for each look-up; printable and one line. */
  readonly warn?: (warning: string) => void;
  /** Monotonic milliseconds; for tests. */
  readonly now?: () => number;
}

/**
 * A thousand new peers within a second must not stand in line behind a server that takes 0.4 s for both questions; far more at
 * once would only overflow receive buffers, here and there.
 */
const defaultInFlight = 1000;
const defaultCacheEntries = 10_000;
const identPort = 113;
/** A rule may ask for more seconds than a timer of Node can count; a longer one would fire at once. */
const maxTimerMs = 2 ** 31 - 1;
/** Ident queries under way at once; each is a socket, and two hosts that ask each other must come to an end. */
const identInFlight = 256;

/** So long a name is told to records again without a look at the hosts file, the resolver and the cache behind them. */
const recentMs = 1000;
const recentEntries = 1000;

/** One per policy in force; `close` it when the policy goes. */
export class Lookups {
  readonly #options: LookupOptions;
  readonly #names: ReverseDns;
  /** Names found for records, by the text of the address. */
  readonly #recent: ExpiringCache<Pick<FoundName, "name"> & { readonly nameStatus: FoundName["status"] }>;
  readonly #identSlots = new Slots(identInFlight);

  /** @throws TypeError (ERR_INVALID_IP_ADDRESS) where one of `servers` is no numeric address */
  constructor(options: LookupOptions) {
    this.#options = options;
    this.#recent = new ExpiringCache(recentEntries, options.now ?? (() => performance.now()));
    this.#names = new ReverseDns({
      maxInFlight: defaultInFlight,
      cacheEntries: defaultCacheEntries,
      now: () => performance.now(),
      ...options,
    });
  }

  /**
   * Finds one fact and adds it to the request.
   *
   * @param signal ends the waiting: the fact is then "unknown"
   * @returns the request with the fact in it, "unknown" at worst; names carry their `nameStatus` for the record
   *
   * Never rejects. A fact that is already there is not asked for again. "aclexec" is not a question to the network: the
   * request comes back as it was.
   */
  async find(fact: Fact, request: Request, signal: AbortSignal): Promise<Request> {
    switch (fact.kind) {
      case "clientName":
        return withLate({ ...request, client: await this.#named(request.client, signal) }, fact);
      case "serverName":
        return withLate({ ...request, server: await this.#named(request.server, signal) }, fact);
      case "user":
        return withLate(
          { ...request, user: request.user ?? (await this.#user(request, fact.withinMs, signal)) },
          fact,
        );
      case "aclexec":
        return request;
      default:
        return fact satisfies never;
    }
  }

  /**
   * Looks for the client's name beside the decision (`names.reverse: always`), for the record only: a rule must not see a
   * name that no rule asked for. A name that is remembered, or stands in the hosts file, is given at once.
   *
   * @returns the request with the name, once it is known; undefined where none is looked for: another setting, a name that
   *   is already there, or so many look-ups under way that those which a rule needs would have to wait
   *
   * Never rejects. A decision that needs the name while it is under way waits for the same answer.
   */
  ahead(request: Request): Request | Promise<Request> | undefined {
    const { client } = request;
    if (this.#options.reverse !== "always" || client.name !== undefined) return undefined;
    const recent = this.#recent.get(client.address);
    if (recent !== undefined) return withClient(request, recent);
    const known = this.#names.known(client.address);
    if (known !== undefined) return this.#tell(request, known);
    return this.#names.isBusy() ? undefined : this.#findAhead(request);
  }

  /** Ends what is under way; the names asked for become "unknown". */
  close(): void {
    this.#names.close();
  }

  async #user(request: Request, withinMs: number | undefined, signal: AbortSignal): Promise<string> {
    const limitMs = Math.min(withinMs ?? this.#options.identTimeoutMs, maxTimerMs);
    const limit = startDeadline(limitMs, signal);
    const release = await this.#identSlots.take(limit.signal);
    try {
      if (release === undefined) return "unknown";
      const { client, server } = request;
      const port = this.#options.identPort ?? identPort;
      return await askIdent({ client, server, port, signal: limit.signal });
    } catch {
      return "unknown"; // a fault of ours must not leave the connection undecided
    } finally {
      limit.clear();
      release?.();
    }
  }

  async #findAhead(request: Request): Promise<Request> {
    return this.#tell(request, await this.#names.find(request.client.address));
  }

  #tell(request: Request, { name, status }: FoundName): Request {
    const found = { name, nameStatus: status };
    this.#recent.set(request.client.address, found, recentMs);
    return withClient(request, found);
  }

  async #named(endpoint: Endpoint, signal?: AbortSignal): Promise<Endpoint> {
    if (endpoint.name !== undefined) return endpoint;
    if (this.#options.reverse === "never") return { ...endpoint, name: "unknown" };
    const found: FoundName = await this.#names.find(endpoint.address, signal);
    return { ...endpoint, name: found.name, nameStatus: found.status };
  }
}

/** No literal that begins with a spread: V8 takes a slow way for those. */
function withClient(request: Request, name: Pick<Endpoint, "name" | "nameStatus">): Request {
  const { daemon, client } = request;
  return Object.assign({ daemon }, request, {
    client: Object.assign({ address: client.address }, client, name),
  });
}
