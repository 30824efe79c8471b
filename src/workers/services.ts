/** Makes of the settings of each service what a connection must know of it. */

import type { ServiceSettings, Settings } from "../config/schema.ts";
import { parseNetworks } from "../identify/networks.ts";
import { printEndpoint } from "../listen/endpoint.ts";
import type { BackendNames } from "../relay/backend-names.ts";
import { Backends } from "../relay/backends.ts";
import type { Service } from "../service.ts";

/**
 * Every service by its name.
 *
 * @param workers how many of them share a service's limit of connections
 * @param resolve finds the addresses of a backend that has a name
 */
export function servicesOf(
  settings: Settings["services"],
  workers: number,
  resolve: BackendNames["resolve"],
): ReadonlyMap<string, Service> {
  return new Map(
    Object.entries(settings).map(([name, service]) => [name, serviceOf(name, service, workers, resolve)]),
  );
}

function serviceOf(
  name: string,
  settings: ServiceSettings,
  workers: number,
  resolve: BackendNames["resolve"],
): Service {
  const { acceptFrom } = settings.proxyProtocol;
  return {
    name,
    daemon: settings.daemon ?? name,
    ...targetOf(settings, resolve),
    refusal: settings.refuse,
    ...(acceptFrom.length > 0 && {
      proxies: { networks: parseNetworks(acceptFrom).networks, timeoutMs: settings.proxyProtocol.timeout },
    }),
    connectTimeoutMs: settings.connectTimeout,
    idleMs: settings.idleTimeout,
    decisionMs: settings.decisionTimeout,
    maxConnections: Math.ceil(settings.maxConnections / workers),
  };
}

function targetOf(
  { backend, exec, proxyProtocol }: ServiceSettings,
  resolve: BackendNames["resolve"],
): Pick<Service, "target" | "targetText"> {
  if (exec !== undefined) return { target: { kind: "exec", argv: exec }, targetText: exec.join(" ") };
  if (backend === undefined) throw new Error("a service without a target: the schema lets none through");
  const { send } = proxyProtocol;
  const backends = new Backends({ addresses: backend, resolve });
  const target = { kind: "backend", backends, ...(send !== undefined && { sendProxy: send }) } as const;
  return { target, targetText: backend.map(printEndpoint).join(", ") };
}
