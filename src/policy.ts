/** The policy in force: all that a worker must know to serve, as data that can be sent to it. */

import { isIPv4, isIPv6 } from "node:net";
import type { Settings } from "./config/schema.ts";
import { isUdp } from "./config/service-rules.ts";
import { type ListenEndpoint, printEndpoint } from "./listen/endpoint.ts";
import type { FloodSettings } from "./record/flood.ts";

/** Settings, and tables whose text was given to us by the name that stands in place of a path. */
export interface Policy {
  readonly settings: Settings;
  readonly inlineTables: ReadonlyMap<string, string>;
}

/** How long sessions may last once the daemon drains; milliseconds, 0 = for ever. */
export interface DrainLimits {
  readonly byService: ReadonlyMap<string, number>;
  /** Of services that a reload has taken away. */
  readonly otherMs: number;
  /** Of all of them: nothing is left then. */
  readonly allMs: number;
  /** They are cut one after another over the last so long. */
  readonly spreadMs: number;
}

/** Of a drain that somebody asks for. */
export function drainLimits({ services, process }: Settings): DrainLimits {
  const byService = new Map(
    Object.entries(services).map(([name, { drainTimeout = process.drainTimeout }]) => [name, drainTimeout]),
  );
  const otherMs = process.drainTimeout;
  const limits = [...byService.values(), otherMs];
  const allMs = limits.includes(0) ? 0 : Math.max(...limits);
  return { byService, otherMs, allMs, spreadMs: process.drainSpread };
}

/** The longest of the limits that there are; 0 = there is none. */
export function longestLimitMs({ byService, otherMs }: DrainLimits): number {
  return Math.max(otherMs, ...byService.values());
}

/** Sessions that go on for as long as they like. */
export const endless: DrainLimits = { byService: new Map(), otherMs: 0, allMs: 0, spreadMs: 0 };

/** One socket to listen on. */
export interface ListenPlan {
  /** The same for the same socket, whatever else a reload changes. */
  readonly key: string;
  readonly service: string;
  readonly endpoint: ListenEndpoint;
  readonly isIpv6Only: boolean;
  /** It takes datagrams: its service is a UDP service. */
  readonly isDatagram: boolean;
  readonly descriptor?: number;
}

/** Sockets that the service manager holds for us, by name. */
export type Inherited = ReadonlyMap<string, readonly number[]>;

/** Sockets of the service manager that do not fit the configuration. */
export class InheritedError extends Error {
  override readonly name = "InheritedError";
  readonly hint = 'each FileDescriptorName= of the socket units must be listened on as "systemd:NAME"';
}

/**
 * The service manager's sockets by name.
 *
 * @throws InheritedError for a socket that no service listens on: its clients would wait for ever
 */
export function inheritedSockets(
  settings: Settings,
  sockets: readonly { readonly fd: number; readonly name: string }[],
  problems: readonly string[],
): Inherited {
  if (problems.length > 0) throw new InheritedError(problems.join(", "));
  const wanted = new Set(
    Object.values(settings.services).flatMap(({ listen }) =>
      listen.flatMap((endpoint) => (endpoint.kind === "systemd" ? [endpoint.name] : [])),
    ),
  );
  const byName = new Map<string, number[]>();
  for (const { fd, name } of sockets) {
    if (!wanted.has(name)) throw new InheritedError(`no service listens on the inherited socket "${name}"`);
    byName.set(name, [...(byName.get(name) ?? []), fd]);
  }
  return byName;
}

/** Every socket to listen on. "[::]:22" takes IPv4 clients too, unless somebody listens on 0.0.0.0:22 or the like. */
export function listenPlans(settings: Settings, inherited: Inherited): ListenPlan[] {
  const services = Object.entries(settings.services);
  const endpoints = services.flatMap(([, { listen }]) => listen);
  const ipv4Ports = new Set(
    endpoints.flatMap((each) => ("port" in each && isIPv4(each.host) ? [`${each.kind} ${each.port}`] : [])),
  );
  return services.flatMap(([service, { listen, backend }]) =>
    listen.flatMap((endpoint, index): ListenPlan[] => {
      const { host = "", port } = "port" in endpoint ? endpoint : {};
      const isIpv6Only =
        isIPv6(host) && port !== undefined && port !== 0 && ipv4Ports.has(`${endpoint.kind} ${port}`);
      // Port 0 is another port each time it is asked for, so its place in the list tells them apart.
      const key = `${printEndpoint(endpoint)}${isIpv6Only ? " v6only" : ""}${port === 0 ? ` ${service} ${index}` : ""}`;
      const plan = { key, service, endpoint, isIpv6Only, isDatagram: isUdp({ listen, backend }) };
      if (endpoint.kind !== "systemd") return [plan];
      const descriptors = inherited.get(endpoint.name) ?? [];
      if (descriptors.length === 0) return [plan];
      return descriptors.map((descriptor) => ({ ...plan, key: `${key} ${descriptor}`, descriptor }));
    }),
  );
}

/** What a journal is told of floods. */
export function floodOf({ perSource, perUdpService, period }: Settings["flood"]): FloodSettings {
  return { perSource, perUdpService, periodMs: period };
}
