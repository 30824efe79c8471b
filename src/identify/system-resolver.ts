/** The DNS servers to ask, as they are now: the configured ones, or the system's, read again when resolv.conf changes. */

import { promises as dns } from "node:dns";
import { statSync } from "node:fs";

/** Settings of one try; together with the number of tries they stay inside the limit of a whole look-up. */
export interface ResolverOptions {
  /** "address" or "address:port" or "[v6]:port"; empty = the system's. */
  readonly servers: readonly string[];
  /** Milliseconds a whole look-up may take. */
  readonly timeoutMs: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/**
 * Hands out the resolver to ask with: one of several in turn, because each has one UDP socket, and the answers to a burst of
 * questions overflow the receive buffer of a single one. A resolver of Node keeps the servers that it read when it was made, so after a change
 * of resolv.conf there is a new one; questions under way end on the old one.
 */
export class SystemResolver {
  readonly #options: ResolverOptions;
  #resolvers: readonly dns.Resolver[];
  #turn = 0;
  #stamp: string;
  #checkedAt: number;
  #generation = 0;

  /** @throws TypeError (ERR_INVALID_IP_ADDRESS) where a server is no numeric address */
  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#stamp = stampOf();
    this.#checkedAt = options.now();
    this.#resolvers = this.#create();
  }

  /** Grows with every change of the servers: what older ones said may be wrong now. */
  generation(): number {
    this.#refresh();
    return this.#generation;
  }

  /** The resolver to ask the next question with; do not keep it. */
  current(): dns.Resolver {
    this.#refresh();
    this.#turn = (this.#turn + 1) % this.#resolvers.length;
    const resolver = this.#resolvers[this.#turn];
    if (resolver === undefined) throw new Error("no resolver");
    return resolver;
  }

  /** Ends every question under way on the current resolvers with ECANCELLED. */
  close(): void {
    for (const resolver of this.#resolvers) resolver.cancel();
  }

  #refresh(): void {
    if (this.#options.servers.length > 0) return;
    const now = this.#options.now();
    if (now - this.#checkedAt < checkEveryMs) return;
    this.#checkedAt = now;
    const stamp = stampOf();
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    this.#generation++;
    this.#resolvers = this.#create();
  }

  #create(): readonly dns.Resolver[] {
    return Array.from({ length: sockets }, () => {
      // A second server, or a second try, must get its turn before the whole look-up is over. Each try waits twice as long
      // as the one before, less up to half of that by chance: three of them never end before the limit does.
      const timeout = Math.max(50, Math.floor(this.#options.timeoutMs / 4));
      const resolver = new dns.Resolver({ timeout, tries: 3 });
      if (this.#options.servers.length > 0) resolver.setServers(this.#options.servers);
      return resolver;
    });
  }
}

const sockets = 8;
const resolvConf = "/etc/resolv.conf";
const checkEveryMs = 1000;

function stampOf(): string {
  try {
    const stat = statSync(resolvConf, { bigint: true });
    return `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
  } catch {
    return "none"; // then the C library and Node ask 127.0.0.1
  }
}
