/** Asks once where a backend's name leads: the hosts file, then DNS, then the system's own resolver. */

import { lookup, Resolver } from "node:dns/promises";
import { readFile, stat } from "node:fs/promises";
import { isIP } from "node:net";

import { within } from "./within.ts";

export interface NameQuestionsOptions {
  /** DNS servers as "address" or "address:port"; default: the system's. */
  readonly servers?: readonly string[];
  readonly hostsFile?: string;
}

/** Where a name leads. */
export interface NameAnswer {
  /** IPv4 first, each family in the order of the answer. */
  readonly addresses: readonly string[];
  readonly lifetimeMs: number;
}

/** How long an answer is used that says nothing of its lifetime. */
const hostsFileMs = 1000;
const systemMs = 5000;

/** Of a whole question. Less than the `connectTimeout` that services have by default, so that the end says what DNS said. */
const questionMs = 4000;

/** Many servers drop questions for AAAA: what one family has said is used when the other has been silent for so long after it. */
const otherFamilyMs = 200;

/**
 * The hosts file comes first, then DNS (A and AAAA together), then, for what DNS does not know, getaddrinfo, which knows
 * search lists and mDNS.
 */
export class NameQuestions {
  readonly #hostsFile: string;
  readonly #resolver = new Resolver({ timeout: 1000, tries: 3 });
  #hosts:
    | { readonly mtimeMs: number; readonly size: number; readonly names: ReadonlyMap<string, string[]> }
    | undefined;

  constructor({ servers = [], hostsFile = "/etc/hosts" }: NameQuestionsOptions) {
    this.#hostsFile = hostsFile;
    if (servers.length > 0) this.#resolver.setServers(servers);
  }

  /**
   * @param name lower case, no final dot
   * @throws Error with a `code` (ENOTFOUND, ETIMEOUT, …) when there is no address, or no answer in time
   */
  async ask(name: string): Promise<NameAnswer> {
    const local = (await this.#readHosts()).get(name);
    if (local !== undefined) return { addresses: local, lifetimeMs: hostsFileMs };
    const answer = await within(questionMs, this.#askNetwork(name));
    if (answer !== undefined) return answer;
    throw Object.assign(new Error(`nobody has said where ${name} leads`), { code: "ETIMEOUT" });
  }

  /** Questions that are open fail. */
  close(): void {
    this.#resolver.cancel();
  }

  async #askNetwork(name: string): Promise<NameAnswer> {
    const options = { ttl: true } as const;
    const questions = [this.#resolver.resolve4(name, options), this.#resolver.resolve6(name, options)];
    await Promise.any(questions).catch(() => undefined);
    const answers = await Promise.allSettled(questions.map((question) => within(otherFamilyMs, question)));
    const records = answers.flatMap((answer) => (answer.status === "fulfilled" ? (answer.value ?? []) : []));
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
    return { addresses, lifetimeMs: systemMs };
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

/** There is none, as opposed to nobody who could be asked. */
export function isNoSuchName(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOTFOUND" || code === "ENODATA";
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
