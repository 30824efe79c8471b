/** Makes of the settings of each service but those of UDP what a connection must know of it. */

import type { ServiceSettings, Settings } from "../config/schema.ts";
import { isUdp } from "../config/service-rules.ts";
import { parseNetworks } from "../identify/networks.ts";
import { printEndpoint } from "../listen/endpoint.ts";
import type { BackendNames } from "../relay/backend-names.ts";
import { type BackendLoads, Backends } from "../relay/backends.ts";
import { type OpenFrom, TransparentError } from "../relay/transparent.ts";
import type { Service } from "../service.ts";

/** What reaching the backends needs. */
export interface Dialling {
  /** Finds the addresses of a backend that has a name. */
  readonly resolve: BackendNames["resolve"];
  /** There where a service has `source: client`. */
  readonly openFrom: OpenFrom | undefined;
  /** The services until now, whose backends are known already. */
  readonly before: ReadonlyMap<string, Service>;
  /** How many sessions each backend has. */
  readonly loads: BackendLoads;
  /** Names lead where they led before: what is known of backends by name or by rest still counts. */
  readonly namesStay: boolean;
}

/**
 * Every service that takes connections, by its name.
 *
 * @param workers how many of them share a service's limit of connections
 */
export function servicesOf(
  settings: Settings["services"],
  workers: number,
  dialling: Dialling,
): ReadonlyMap<string, Service> {
  const taking = Object.entries(settings).filter(([, service]) => !isUdp(service));
  return new Map(taking.map(([name, service]) => [name, serviceOf(name, service, workers, dialling)]));
}

function serviceOf(name: string, settings: ServiceSettings, workers: number, dialling: Dialling): Service {
  const { acceptFrom } = settings.proxyProtocol;
  return {
    name,
    daemon: settings.daemon ?? name,
    ...targetOf(name, settings, workers, dialling),
    refusal: settings.refuse,
    refuseAfterMs: settings.refuseAfter,
    ...(acceptFrom.length > 0 && {
      proxies: { networks: parseNetworks(acceptFrom).networks, timeoutMs: settings.proxyProtocol.timeout },
    }),
    connectTimeoutMs: settings.connectTimeout,
    idleMs: settings.idleTimeout,
    halfClosedMs: settings.halfClosedTimeout,
    keepAliveMs: settings.keepAlive,
    maxAgeMs: settings.maxAge,
    decisionMs: settings.decisionTimeout,
    maxConnections: Math.ceil(settings.maxConnections / workers),
  };
}

function targetOf(
  name: string,
  { backend, exec, source, proxyProtocol, health, maxPerBackend }: ServiceSettings,
  workers: number,
  { resolve, openFrom = noSource, namesStay, loads, before: services }: Dialling,
): Pick<Service, "target" | "targetText"> {
  if (exec !== undefined) return { target: { kind: "exec", argv: exec }, targetText: exec.join(" ") };
  const addresses = (backend ?? []).filter((endpoint) => endpoint.kind !== "udp");
  if (addresses.length === 0) throw new Error("a service without a target: the schema lets none through");
  const { send } = proxyProtocol;
  const targetText = addresses.map(printEndpoint).join(", ");
  const before = services.get(name);
  const isSame = namesStay && before?.target.kind === "backend" && before.targetText === targetText;
  const target = {
    kind: "backend",
    backends: isSame
      ? before.target.backends
      : new Backends({ addresses, resolve, loadOf: (address) => loads.of(name, address) }),
    health,
    cutsFallen: health.sessions === "cut",
    ...(maxPerBackend !== undefined && { maxPerBackend: Math.ceil(maxPerBackend / workers) }),
    ...(send !== undefined && { sendProxy: send }),
    ...(source === "client" && { openFrom }),
  } as const;
  return { target, targetText };
}

/** A client is refused rather than carried under our own address. */
const noSource: OpenFrom = () => {
  throw new TransparentError("ENOPKG", "nothing makes sockets from clients' addresses");
};
