/** Keeps a flood of refusals from flooding the log: the first of each source in full, the rest as a number. */
import ipaddr from "ipaddr.js";

import type { RefuseFields, SuppressedFields } from "./records.ts";

/** More sources than this share one count: an attacker has as many addresses as he likes. */
const MAX_SOURCES = 1000;

/** What all further sources are called in their summary. */
const OTHERS = "others";

export interface FloodSettings {
  /** Refusals of one source and service that are written in full in each period; 0 = all. */
  readonly perSource: number;
  /** The same for a UDP service, whatever the sources: they can be forged, each time another one. Absent = all. */
  readonly perUdpService?: number;
  /** The first refusal begins a period; its end brings the summaries. */
  readonly periodMs: number;
}

/** What one source has done in this period. */
interface Tally {
  seen: number;
  /** So many are written in full. */
  readonly limit: number;
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
  admits({ service, daemon, client, transport }: RefuseFields): boolean {
    const isForgeable = transport === "udp";
    const { perSource, perUdpService = 0, periodMs } = this.#settings;
    const limit = isForgeable ? perUdpService : perSource;
    if (limit === 0) return true;
    this.#timer ??= setTimeout(() => this.flush(), periodMs).unref();
    const tally = this.#tally(service, daemon, isForgeable ? OTHERS : sourceOf(client.address), limit);
    tally.seen++;
    return tally.seen <= limit;
  }

  /** Writes the summaries and begins anew; also for the end of the daemon. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const tallies = this.#tallies;
    this.#tallies = new Map();
    for (const { seen, limit, service, daemon, source } of tallies.values()) {
      const refusals = seen - limit;
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

  #tally(service: string, daemon: string, source: string, limit: number): Tally {
    const key = `${service} ${source}`;
    const known = this.#tallies.get(key);
    if (known !== undefined) return known;
    if (this.#tallies.size >= MAX_SOURCES && source !== OTHERS)
      return this.#tally(service, daemon, OTHERS, limit);
    const tally = { seen: 0, limit, service, daemon, source };
    this.#tallies.set(key, tally);
    return tally;
  }
}

/**
 * Who counts as one source: an IPv4 address, also in IPv6's clothes, or an IPv6 /64. One who has an IPv6 address has at least
 * 2^64 of them. Source: RFC 6177 section 2.
 */
export function sourceOf(address: string): string {
  if (!address.includes(":") || !ipaddr.IPv6.isValid(address)) return address;
  const parsed = ipaddr.IPv6.parse(address);
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString();
  return `${new ipaddr.IPv6([...parsed.parts.slice(0, 4), 0, 0, 0, 0]).toString()}/64`;
}
