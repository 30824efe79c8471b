/** Finds rules that can never match, because rules above them have matched all their clients already. Only what is certain. */
import { maskWord, parseIpv6, parseQuad, type Words } from "./addresses.ts";

/** A daemon and a client pattern of a rule in question, in lower case. */
export interface Asked {
  readonly daemons: readonly string[];
  readonly clients: readonly string[];
}

/** Where a rule stands. */
export interface Stand {
  readonly file: string;
  readonly line: number;
  /** What becomes of the clients that it matches. */
  readonly verdict: string;
}

/**
 * The patterns of the rules read so far, by daemon. A rule counts with its lists up to the first EXCEPT: as a rule above only where it
 * has none, as a rule below in any case, as an exception only takes clients away.
 */
export class Covered {
  readonly #byDaemon = new Map<string, Clients>();
  readonly #followsNames: boolean;

  /** @param followsNames host names also match by their own addresses, so a domain does not hold all that they match */
  constructor(followsNames: boolean) {
    this.#followsNames = followsNames;
  }

  /** The rules above that match everything first; undefined where some client may come to this rule. */
  find(asked: Asked): readonly Stand[] | undefined {
    const { daemons, clients } = withoutDoubles(asked);
    if (daemons.length === 0 || clients.length === 0) return undefined;
    const found = new Set<Stand>();
    for (const daemon of daemons) {
      for (const client of clients) {
        const stand = this.#first(daemon, client);
        if (stand === undefined) return undefined;
        found.add(stand);
      }
    }
    return [...found];
  }

  /** Adds a rule without EXCEPT. */
  add(asked: Asked, stand: Stand): void {
    const { daemons, clients } = withoutDoubles(asked);
    for (const daemon of daemons) {
      const known = this.#byDaemon.get(daemon) ?? new Clients(this.#followsNames);
      this.#byDaemon.set(daemon, known);
      for (const client of clients) known.add(client, stand);
    }
  }

  #first(daemon: string, client: string): Stand | undefined {
    // A daemon at one of our addresses is a part of the daemon everywhere.
    const [name = ""] = daemon.split("@", 1);
    for (const wider of new Set(["all", daemon, name])) {
      const stand = this.#byDaemon.get(wider)?.find(client);
      if (stand !== undefined) return stand;
    }
    return undefined;
  }
}

/** Every word once; nothing of a rule whose lists are both so long that each daemon with each client would be too many. */
function withoutDoubles(asked: Asked): Asked {
  const [daemons, clients] = [[...new Set(asked.daemons)], [...new Set(asked.clients)]];
  return Math.min(daemons.length, clients.length) > MOST_IN_BOTH
    ? { daemons: [], clients: [] }
    : { daemons, clients };
}

/** Words that both lists of a rule may have. */
const MOST_IN_BOTH = 50;

/** No name in DNS is longer. */
const MOST_OF_A_NAME = 255;

/** Client patterns that have been seen for one daemon. */
class Clients {
  readonly #words = new Map<string, Stand>();
  readonly #nets = new Map<string, Stand>();
  readonly #suffixes = new Map<string, Stand>();
  readonly #followsNames: boolean;

  constructor(followsNames: boolean) {
    this.#followsNames = followsNames;
  }

  add(word: string, stand: Stand): void {
    const nets = netOf(word);
    if (nets !== undefined) addOnce(this.#nets, keyOf(nets, nets.bits), stand);
    else if (/^\.[\w-]/.test(word)) addOnce(this.#suffixes, word, stand);
    addOnce(this.#words, word, stand);
  }

  find(word: string): Stand | undefined {
    const [, host] = /^.[^@]*@([^@]+)$/s.exec(word) ?? [];
    const same = this.#words.get("all") ?? this.#words.get(word);
    if (same !== undefined) return same;
    // Any user of a host is a part of the host.
    if (host !== undefined) return this.find(host);
    const net = netOf(word);
    if (net !== undefined) {
      for (let bits = net.bits; bits >= 0; bits--) {
        const wider = this.#nets.get(keyOf(net, bits));
        if (wider !== undefined) return wider;
      }
      return undefined;
    }
    if (this.#followsNames && !word.startsWith(".")) return undefined;
    if (this.#suffixes.size === 0 || word.length > MOST_OF_A_NAME || !/^\.?[a-z][\w.-]*$/.test(word))
      return undefined;
    for (let dot = word.indexOf(".", 1); dot >= 0; dot = word.indexOf(".", dot + 1)) {
      const wider = this.#suffixes.get(word.slice(dot));
      if (wider !== undefined) return wider;
    }
    return undefined;
  }
}

interface Net {
  readonly words: readonly number[];
  readonly bits: number;
}

/** The addresses of a numeric pattern; undefined for every other one, and for one that never matches. */
function netOf(word: string): Net | undefined {
  const [, v6, v6Bits = "128"] = /^\[([^\]]*)\](?:\/(\d{1,3}))?$/.exec(word) ?? [];
  if (v6 !== undefined) {
    const words: Words | undefined = parseIpv6(v6, () => true);
    return words === undefined || Number(v6Bits) > 128 ? undefined : { words, bits: Number(v6Bits) };
  }
  const [, beginning] = /^((?:(?:0|[1-9]\d{0,2})\.){1,3})$/.exec(word) ?? [];
  if (beginning !== undefined) {
    const parts = beginning.split(".").filter(Boolean);
    const quad = parseQuad([...parts, "0", "0", "0"].slice(0, 4).join("."));
    return quad === undefined ? undefined : { words: [quad], bits: parts.length * 8 };
  }
  const [, net = "", mask = "32"] =
    /^((?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){3})(?:\/([\d.]+))?$/.exec(word) ?? [];
  const quad = parseQuad(net);
  const bits = /^\d{1,2}$/.test(mask) ? Number(mask) : lengthOf(parseQuad(mask));
  if (quad === undefined || bits === undefined || bits < 1 || bits > 32) return undefined;
  return (quad & maskWord(bits, 0)) >>> 0 === quad ? { words: [quad], bits } : undefined;
}

function lengthOf(mask: number | undefined): number | undefined {
  if (mask === undefined) return undefined;
  for (let bits = 1; bits <= 32; bits++) if (maskWord(bits, 0) === mask) return bits;
  return undefined;
}

function keyOf({ words }: Net, bits: number): string {
  return `${words.map((word, index) => ((word & maskWord(bits, index)) >>> 0).toString(16)).join(":")}/${bits}`;
}

function addOnce(map: Map<string, Stand>, key: string, stand: Stand): void {
  if (!map.has(key)) map.set(key, stand);
}
