/** What a connection must know of its service. */

import type { RefusalKind } from "./act/refuse.ts";
import type { Networks } from "./identify/networks.ts";
import type { BackendNames } from "./relay/backend-names.ts";
import type { Backends, HealthRules } from "./relay/backends.ts";
import type { OpenFrom } from "./relay/transparent.ts";

/** One configured listener with its daemon name and backend. */
export interface Service {
  readonly name: string;
  /** What the tables match on. */
  readonly daemon: string;
  readonly target: Target;
  /** The target as records name it. */
  readonly targetText: string;
  readonly refusal: RefusalKind;
  /** A refused client is ended at a whole multiple of this after it came; 0 = at once. */
  readonly refuseAfterMs: number;
  /** Peers that announce their clients by a PROXY header; absent = a header is payload like any other. */
  readonly proxies?: { readonly networks: Networks; readonly timeoutMs: number };
  readonly connectTimeoutMs: number;
  /** 0 = no limit. */
  readonly idleMs: number;
  /** How long a session may last, from accept on; 0 = no limit. */
  readonly maxAgeMs: number;
  /** How long no byte may come from a client whose backend has ended; 0 = no limit. */
  readonly halfClosedMs: number;
  /** How long nothing may come before the kernel asks whether a side is still there; 0 = it does not ask. */
  readonly keepAliveMs: number;
  /** Everything between accept and verdict. */
  readonly decisionMs: number;
  readonly maxConnections: number;
}

/** One configured UDP service. */
export interface UdpService {
  readonly name: string;
  /** What the tables match on. */
  readonly daemon: string;
  readonly backend: { readonly host: string; readonly port: number };
  /** Finds the addresses of a backend that is given by name. */
  readonly resolve: BackendNames["resolve"];
  /** The backend as records name it. */
  readonly targetText: string;
  /** To find its address. */
  readonly connectTimeoutMs: number;
  /** Never 0. */
  readonly idleMs: number;
  /** How long a session may last; 0 = no limit. */
  readonly maxAgeMs: number;
  /** Everything between the first datagram and the verdict. */
  readonly decisionMs: number;
  readonly maxConnections: number;
  /** Of them, those of one address or IPv6 /64. */
  readonly maxPerSource: number;
}

/** Where allowed clients go: to a backend by a relay, or to a program that gets their socket. */
export type Target =
  | {
      readonly kind: "backend";
      readonly backends: Backends;
      readonly health: HealthRules;
      /** Sessions of each backend at once; absent = no limit but that of the service. */
      readonly maxPerBackend?: number;
      /** The sessions of a backend that has fallen are cut. */
      readonly cutsFallen: boolean;
      readonly sendProxy?: "v1" | "v2";
      /** Makes the sockets to the backend from the client's own address (`source: client`); absent = from ours. */
      readonly openFrom?: OpenFrom;
    }
  | { readonly kind: "exec"; readonly argv: readonly [string, ...string[]] };
