/** Makes of the settings of each UDP service what serving its clients takes. */

import type { ServiceSettings, Settings } from "../config/schema.ts";
import { isUdp } from "../config/service-rules.ts";
import { printEndpoint } from "../listen/endpoint.ts";
import type { BackendNames } from "../relay/backend-names.ts";
import type { UdpService } from "../service.ts";

/** The idle time of a UDP service that says 0: its sessions have no other end. */
const udpIdleMs = 60_000;

/** TFTP clients ask for many files in a row, each from a port of its own, and many may share an address. */
const maxPerSource = 256;

/**
 * Every UDP service by its name. One worker has all of their clients, so nothing is shared out.
 *
 * @param resolve finds the addresses of a backend that has a name
 */
export function udpServicesOf(
  settings: Settings["services"],
  resolve: BackendNames["resolve"],
): ReadonlyMap<string, UdpService> {
  const udp = Object.entries(settings).filter(([, service]) => isUdp(service));
  return new Map(udp.map(([name, service]) => [name, udpServiceOf(name, service, resolve)]));
}

function udpServiceOf(name: string, settings: ServiceSettings, resolve: BackendNames["resolve"]): UdpService {
  const backend = settings.backend?.find((endpoint) => endpoint.kind === "udp");
  if (backend === undefined) throw new Error("a UDP service without a backend: the schema lets none through");
  return {
    name,
    daemon: settings.daemon ?? name,
    backend,
    resolve,
    targetText: printEndpoint(backend),
    connectTimeoutMs: settings.connectTimeout,
    idleMs: settings.idleTimeout === 0 ? udpIdleMs : settings.idleTimeout,
    maxAgeMs: settings.maxAge,
    decisionMs: settings.decisionTimeout,
    maxConnections: settings.maxConnections,
    maxPerSource: settings.maxPerSource ?? maxPerSource,
  };
}
