/** Keeps a flood of refusals from flooding the log: the first of each source in full, the rest as a number. */
import ipaddr from "ipaddr.js";

import type { RefuseFields, SuppressedFields } from "./records.ts";

/** More sources than this share one count: an attacker has as many addresses as he likes. */
const MAX_SOURCES = 1000;

/** What all further sources are called in their summary. */
const OTHERS = "others";

export interface FloodSettings {
  /** Refusals of one source and service that are written in full in each period. */
  readonly perSource: number;
  /** The first refusal begins a period; its end brings the summaries. */
  readonly periodMs: number;
}

/** What one source has done in this period. */
interface Tally {
  seen: number;
  readonly service: string;
  readonly daemon: string;
  readonly source: string;
}

/**
 * Decides for each refusal whether it is written in full, and sums up the others at the end of each period, exactly.
 *
 * A source is an IPv4 address or an IPv6 /64. Memory and the lines of a period are bounded; what comes from more sources
 * than that is counted under "others".
 */
export class Flood {
  readonly #settings: FloodSettings;
  readonly #emit: (fields: SuppressedFields) => void;
  #tallies = new Map<string, Tally>();
  #timer: NodeJS.Timeout | undefined;

  constructor(settings: FloodSettings, emit: (fields: SuppressedFields) => void) {
    this.#settings = settings;
    this.#emit = emit;
  }

  /** @returns false where the refusal is only counted */
  admits({ service, daemon, client }: RefuseFields): boolean {
    this.#timer ??= setTimeout(() => this.flush(), this.#settings.periodMs).unref();
    const tally = this.#tally(service, daemon, sourceOf(client.address));
    tally.seen++;
    return tally.seen <= this.#settings.perSource;
  }

  /** Writes the summaries and begins anew; also for the end of the daemon. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const tallies = this.#tallies;
    this.#tallies = new Map();
    for (const { seen, service, daemon, source } of tallies.values()) {
      const refusals = seen - this.#settings.perSource;
      if (refusals <= 0) continue;
      this.#emit({
        event: "suppressed",
        service,
        daemon,
        client: { address: source },
        refusals,
        periodMs: this.#settings.periodMs,
      });
    }
  }

  #tally(service: string, daemon: string, source: string): Tally {
    const key = `${service} ${source}`;
    const known = this.#tallies.get(key);
    if (known !== undefined) return known;
    if (this.#tallies.size >= MAX_SOURCES && source !== OTHERS) return this.#tally(service, daemon, OTHERS);
    const tally = { seen: 0, service, daemon, source };
    this.#tallies.set(key, tally);
    return tally;
  }
}

/** One who has an IPv6 address has at least 2^64 of them. Source: RFC 6177 section 2. */
function sourceOf(address: string): string {
  if (!address.includes(":") || !ipaddr.IPv6.isValid(address)) return address;
  const parsed = ipaddr.IPv6.parse(address);
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString();
  return `${new ipaddr.IPv6([...parsed.parts.slice(0, 4), 0, 0, 0, 0]).toString()}/64`;
}
