/** Finds services that would connect to themselves, directly or over one another. */

import { isIPv4 } from "node:net";
import type { BackendEndpoint, ListenEndpoint } from "../listen/endpoint.ts";

/** What of a service says where its connections come from and go to. */
interface Joint {
  readonly listen: readonly ListenEndpoint[];
  readonly backend?: readonly BackendEndpoint[] | undefined;
}

/**
 * The services whose clients would come back to them, by name.
 *
 * Only what the text shows is found: equal addresses, and a wildcard that takes the loopback addresses too. Every other loop
 * ends at the limit of connections.
 */
export function findLoops(services: Readonly<Record<string, Joint>>): string[] {
  const names = Object.keys(services);
  const next = new Map(
    names.map((name) => [
      name,
      names.filter((other) => reaches(services[name]?.backend ?? [], services[other]?.listen ?? [])),
    ]),
  );
  return names.filter((name) => comesBack(name, next));
}

function reaches(backends: readonly BackendEndpoint[], listeners: readonly ListenEndpoint[]): boolean {
  return backends.some((backend) => listeners.some((listener) => takes(listener, backend)));
}

function takes(listener: ListenEndpoint, backend: BackendEndpoint): boolean {
  if (listener.kind === "unix") return backend.kind === "unix" && backend.path === listener.path;
  if (listener.kind !== "tcp" || backend.kind !== "tcp") return false;
  if (listener.port === 0 || listener.port !== backend.port) return false;
  const host = backend.host.toLowerCase();
  if (host === listener.host) return true;
  if (listener.host === "0.0.0.0") return isLoopbackV4(host);
  return listener.host === "::" && (isLoopbackV4(host) || host === "::1");
}

function isLoopbackV4(host: string): boolean {
  return host === "localhost" || (isIPv4(host) && host.startsWith("127."));
}

function comesBack(name: string, next: ReadonlyMap<string, readonly string[]>): boolean {
  const seen = new Set<string>();
  const waiting = [...(next.get(name) ?? [])];
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    if (at === name) return true;
    if (!seen.has(at)) waiting.push(...(next.get(at) ?? []));
    seen.add(at);
  }
  return false;
}
