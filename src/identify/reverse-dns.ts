/** The name of an address: asked backwards in the hosts file and in DNS, and believed only if it leads back. */

import type { promises as dns } from "node:dns";
import type { NameStatus } from "../access/types.ts";
import { unlessAborted } from "./abort.ts";
import type { Address, Family } from "./addresses.ts";
import { looksNumeric, parseAddress, reverseQuestion } from "./addresses.ts";
import { ExpiringCache } from "./expiring-cache.ts";
import { HostsFile } from "./hosts-file.ts";
import { statusOf } from "./resolver-status.ts";
import { Slots } from "./slots.ts";
import { SystemResolver } from "./system-resolver.ts";

/** What is known of one address after asking. */
export interface FoundName {
  /** Lower case, no final dot; "unknown" where there is none; "paranoid" where it does not lead back to the address. */
  readonly name: string;
  readonly status: NameStatus;
  /** Why the name is "paranoid", in libwrap's words; printable and one line. */
  readonly warning?: string;
}

/** What a search needs; every limit of it is here. */
export interface ReverseDnsOptions {
  /** Milliseconds for both questions together, and for the time in line before them. */
  readonly timeoutMs: number;
  /** "address" or "address:port"; empty = the system's. */
  readonly servers: readonly string[];
  /** "" = none. */
  readonly hostsFile: string;
  /** Look-ups under way at once; the rest wait in line, inside their own limit. */
  readonly maxInFlight: number;
  /** Answers remembered. */
  readonly cacheEntries: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Hears the warnings, once for each search; they are printable and one line. */
  readonly warn?: (warning: string) => void;
}

/**
 * Finds names, remembers the answers, and asks each question once at a time.
 *
 * The hosts file is asked first each time, so that its edits count at once; what it says is not remembered.
 * Nothing here uses the thread pool: `dns.lookup` shares four threads with every file operation, and one silent server would
 * stop them all. `dns.reverse` is no way either: it calls every failure ENOTFOUND.
 *
 * Source: hosts_access(5) WILDCARDS; RFC 1912 §2.1; nsswitch.conf(5) "hosts: files dns".
 */
export class ReverseDns {
  readonly #options: ReverseDnsOptions;
  readonly #resolver: SystemResolver;
  readonly #hosts: HostsFile;
  readonly #slots: Slots;
  readonly #cache: ExpiringCache<FoundName>;
  readonly #underWay = new Map<string, Promise<FoundName>>();
  #basis = "";
  #timeoutsInRow = 0;

  /** @throws TypeError (ERR_INVALID_IP_ADDRESS) where a server is no numeric address */
  constructor(options: ReverseDnsOptions) {
    this.#options = options;
    this.#resolver = new SystemResolver(options);
    this.#hosts = new HostsFile(options.hostsFile);
    this.#slots = new Slots(options.maxInFlight);
    this.#cache = new ExpiringCache(options.cacheEntries, options.now);
  }

  /**
   * Finds the name of an address: asks backwards, then checks forwards.
   *
   * @param address text of a socket; IPv4-mapped text is asked for as IPv4
   * @param signal ends the waiting of this caller, not the search, which others may wait for
   * @returns "unknown" with "timeout" when the signal or the limit came before the first answer
   *
   * Never rejects.
   */
  find(address: string, signal?: AbortSignal): Promise<FoundName> {
    const parsed = parseAddress(address);
    if (parsed === undefined) return Promise.resolve(nobody);
    const key = keyOf(parsed);
    const known = this.#recall(key);
    if (known !== undefined) return Promise.resolve(known);
    let search = this.#underWay.get(key);
    if (search === undefined) {
      search = this.#search(parsed, key).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, search);
    }
    return signal === undefined ? search : unlessAborted(search, signal, () => failed("timeout"));
  }

  /** What can be said of an address without asking anybody: what is remembered, or stands in the hosts file. */
  known(address: string): FoundName | undefined {
    const parsed = parseAddress(address);
    if (parsed === undefined) return nobody;
    const remembered = this.#recall(keyOf(parsed));
    if (remembered !== undefined) return remembered;
    const inHosts = this.#hosts.nameOf(parsed);
    const progress = inHosts === undefined ? undefined : checked(inHosts);
    if (progress?.kind !== "named") return undefined;
    const found = this.#confirmByHosts(progress.name, parsed)?.found;
    return found?.warning === undefined ? found : undefined; // a search warns, once for all who wait
  }

  /**
   * Should a look-up that nobody waits for be left out? An eighth of the places is theirs: with DNS at 20 ms still thousands a
   * second. While DNS is silent it is one at a time, to see when that is over: the others would cost what connections without
   * a name rule then miss.
   */
  isBusy(): boolean {
    const { taken, total } = this.#slots.load();
    return taken >= (this.#timeoutsInRow >= silence ? 1 : total / 8);
  }

  /** Ends what is under way, as "error". */
  close(): void {
    this.#resolver.close();
    this.#cache.clear();
  }

  #recall(key: string): FoundName | undefined {
    const basis = `${this.#resolver.generation()} ${this.#hosts.stamp()}`;
    if (basis !== this.#basis) {
      this.#basis = basis;
      this.#cache.clear();
    }
    return this.#cache.get(key);
  }

  async #search(address: Address, key: string): Promise<FoundName> {
    const basis = this.#basis;
    try {
      const { found, lifetimeMs } = await this.#withinLimit(address);
      this.#timeoutsInRow = found.status === "timeout" ? this.#timeoutsInRow + 1 : 0;
      if (basis === this.#basis) this.#cache.set(key, found, lifetimeMs);
      if (found.warning !== undefined) this.#options.warn?.(found.warning);
      return found;
    } catch {
      return failed("error"); // a fault of ours must not leave the connection undecided
    }
  }

  async #withinLimit(address: Address): Promise<Answer> {
    const endsAt = performance.now() + this.#options.timeoutMs;
    const inHosts = this.#hosts.nameOf(address);
    const search: Search = {
      progress: inHosts === undefined ? { kind: "asking" } : checked(inHosts),
    };
    const { progress } = search;
    if (progress.kind === "done") return progress.answer;
    if (progress.kind === "named") {
      const answer = this.#confirmByHosts(progress.name, address);
      if (answer !== undefined) return answer;
    }
    const release =
      this.#slots.tryTake() ?? (await this.#slots.take(AbortSignal.timeout(this.#options.timeoutMs)));
    if (release === undefined) return tooLate(progress, address);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const { progress } = search;
        search.progress = { kind: "over" };
        resolve(tooLate(progress, address));
      }, endsAt - performance.now());
      this.#ask(search, address)
        .then(resolve, reject)
        .finally(() => {
          clearTimeout(timer);
          release(); // not at the limit but here: until then the questions are still under way
        });
    });
  }

  async #ask(search: Search, address: Address): Promise<Answer> {
    if (search.progress.kind === "asking") {
      const backward = await askBackwards(this.#resolver.current(), address);
      // The limit came first: do not ask what nobody waits for.
      if (search.progress.kind === "asking") search.progress = backward;
    }
    const { progress } = search;
    if (progress.kind === "done") return progress.answer;
    if (progress.kind !== "named") return tooLate(progress, address);
    const answer = this.#confirmByHosts(progress.name, address);
    return answer ?? (await askForwards(this.#resolver.current(), progress.name, address));
  }

  #confirmByHosts(name: string, address: Address): Answer | undefined {
    const entry = this.#hosts.addressesOf(name, address.family);
    return entry && { ...confirm(name, address, entry), lifetimeMs: 0 };
  }
}

/** A name found, and for how long it may be believed; 0 = not at all. */
interface Answer {
  readonly found: FoundName;
  readonly lifetimeMs: number;
}

/** What the backward question gave: a name to check, or the end. */
type Backward =
  { readonly kind: "named"; readonly name: string } | { readonly kind: "done"; readonly answer: Answer };

/** How far a search has come; the limit ends it with what is known by then. */
type Progress = { readonly kind: "asking" } | Backward | { readonly kind: "over" };

/** One search under way. */
interface Search {
  progress: Progress;
}

const nobody: FoundName = { name: "unknown", status: "error" };

/**
 * Node 20 does not tell how long a PTR record lives, so an answer lives as long as the forward records that confirmed it, and
 * never longer than five minutes. The lower bound keeps records of lifetime 0 from asking once for every connection.
 */
const confirmedMs = { min: 1000, max: 5 * 60_000 };
/** "There is none" and "does not lead back": long enough for a client that tries again and again (RFC 2308 §5 allows hours). */
const deniedMs = 60_000;
/** "Could not tell": short, so that names are back as soon as the servers are (RFC 2308 §7 allows five minutes). */
const failedMs = 2000;

/** So many time-outs with no answer between them are no longer a slow zone, but servers that are away. */
const silence = 8;

/** libwrap keeps a name in 128 bytes with the final NUL. */
const maxNameBytes = 127;

function failed(status: NameStatus): FoundName {
  return { name: "unknown", status };
}

/** The zone is part of the key: the same link-local address on another interface is another host. */
function keyOf({ text, zone }: Address): string {
  return zone === undefined ? text : `${text}%${zone}`;
}

async function askBackwards(resolver: dns.Resolver, address: Address): Promise<Backward> {
  try {
    // Many names: the first one is asked about, as libwrap does; a client cannot pick the one that suits it.
    const [name] = await resolver.resolvePtr(reverseQuestion(address));
    if (name === undefined) return { kind: "done", answer: denied };
    // DNS gives bytes; the C library takes no host name with a leading hyphen from it (res_hnok), but does from the hosts file.
    return name.startsWith("-") ? nameless : checked(name);
  } catch (error) {
    const status = statusOf(error);
    if (status === "nxdomain") return { kind: "done", answer: denied };
    return { kind: "done", answer: { found: failed(status), lifetimeMs: failedMs } };
  }
}

const nameless: Backward = { kind: "done", answer: { found: failed("error"), lifetimeMs: deniedMs } };
const denied: Answer = { found: failed("nxdomain"), lifetimeMs: deniedMs };

/** A name as it was found: is it one at all? */
function checked(text: string): Backward {
  // libwrap takes the name as it comes (difference 10).
  const whole = text.toLowerCase().replace(/\.$/, "");
  if (!/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(whole)) return nameless;
  const name = whole.slice(0, maxNameBytes);
  if (!looksNumeric(name)) return { kind: "named", name };
  const warning = `host name/name mismatch: reverse lookup results in non-FQDN ${name}`;
  return { kind: "done", answer: mismatch("paranoid", warning, deniedMs) };
}

async function askForwards(resolver: dns.Resolver, name: string, address: Address): Promise<Answer> {
  const { family } = address;
  const [addresses, alias] = await Promise.allSettled([
    family === 4 ? resolver.resolve4(name, { ttl: true }) : resolver.resolve6(name, { ttl: true }),
    // The address answer hides which name it belongs to. Where the name is an alias, the server has just learnt that.
    resolver.resolveCname(name),
  ]);
  if (addresses.status === "rejected") {
    const status = statusOf(addresses.reason);
    return unverified(name, family, status === "nxdomain" ? "paranoid" : status);
  }
  if (addresses.value.length === 0) return unverified(name, family, "paranoid");
  const canonical = alias.status === "fulfilled" ? alias.value[0]?.toLowerCase() : undefined;
  const ttlMs = Math.min(...addresses.value.map(({ ttl }) => ttl)) * 1000;
  const confirmed = confirm(name, address, {
    canonical: canonical ?? name,
    addresses: addresses.value.map((each) => each.address),
  });
  const lifetimeMs = Math.min(Math.max(ttlMs, confirmedMs.min), confirmedMs.max);
  return { ...confirmed, lifetimeMs: confirmed.found.status === "ok" ? lifetimeMs : deniedMs };
}

/** Does the forward answer lead back? Only the same family counts, and no address that was asked for has a zone. */
function confirm(
  name: string,
  address: Address,
  forward: { readonly canonical: string; readonly addresses: readonly string[] },
): Pick<Answer, "found"> {
  const { canonical, addresses } = forward;
  if (canonical.toLowerCase() !== name && name !== "localhost") {
    return mismatch("paranoid", `host name/name mismatch: ${name} != ${canonical}`, deniedMs);
  }
  if (address.zone !== undefined || !addresses.includes(address.text)) {
    return mismatch("paranoid", `host name/address mismatch: ${keyOf(address)} != ${canonical}`, deniedMs);
  }
  return { found: { name, status: "ok" } };
}

function unverified(name: string, family: Family, status: NameStatus): Answer {
  const warning = `can't verify hostname: getaddrinfo(${name}, ${family === 4 ? "AF_INET" : "AF_INET6"}) failed`;
  return mismatch(status, warning, status === "paranoid" ? deniedMs : failedMs);
}

function mismatch(status: NameStatus, text: string, lifetimeMs: number): Answer {
  const warning = text.replace(/[^\x20-\x7e]/g, "?"); // the hosts file may hold anything
  return { found: { name: "paranoid", status, warning }, lifetimeMs };
}

function tooLate(progress: Progress, address: Address): Answer {
  if (progress.kind === "named") return unverified(progress.name, address.family, "timeout");
  return { found: failed("timeout"), lifetimeMs: failedMs };
}
