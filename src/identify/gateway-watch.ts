/** Notices a network that hides its clients: whoever comes has the address of our own gateway. */

import { parseAddress, scopeOf } from "./addresses.ts";

/** So many clients, all from one gateway, are no coincidence; fewer may be an administrator who tries it out. */
const enough = 10;

/**
 * Watches the first clients of a daemon.
 *
 * Container networks, hairpin NAT and Kubernetes without `externalTrafficPolicy: Local` put the gateway's address in place of the
 * client's. A rule that names a network then lets in everybody or nobody, and looks right in the table.
 */
export class GatewayWatch {
  readonly #gateways: ReadonlySet<string>;
  #count = 0;
  #isOver: boolean;

  /** @param gateways canonical addresses of our default routes */
  constructor(gateways: ReadonlySet<string>) {
    this.#gateways = gateways;
    this.#isOver = gateways.size === 0;
  }

  /** Looks at the address of one more client, as Node gives it; what is to be said about all of them, once. */
  see(remoteAddress: string | undefined): string | undefined {
    // Clients of this machine itself say nothing about the network. Where there are no others, it is watched for ever.
    if (this.#isOver || remoteAddress === undefined || remoteAddress.startsWith("127.")) return undefined;
    const address = parseAddress(remoteAddress);
    if (address === undefined || scopeOf(address) === "loopback") return undefined;
    this.#count = this.#gateways.has(address.text) ? this.#count + 1 : Number.POSITIVE_INFINITY;
    this.#isOver = this.#count >= enough;
    if (this.#count !== enough) return undefined;
    return `all of the first ${enough} clients have the address of our gateway, ${address.text}: the network hides who they are, and rules about addresses cannot tell them apart; docs/containers.md says what to do`;
  }
}
