/** Tells whether what is sent to a backend comes to a listener of our own. */

import { isIPv6 } from "node:net";
import { parseAddress, scopeOf } from "../identify/addresses.ts";
import { type BackendEndpoint, type ListenEndpoint, printEndpoint } from "../listen/endpoint.ts";

/**
 * Whether a connection, or a datagram, to `target` comes to `listener`. A name is believed to lead elsewhere; only localhost
 * is not.
 *
 * @param own the addresses of this machine, canonical: a listener on a wildcard address has them all
 */
export function comesTo(
  listener: ListenEndpoint,
  target: BackendEndpoint,
  own: ReadonlySet<string>,
): boolean {
  if (listener.kind === "unix" || listener.kind === "systemd" || target.kind === "unix")
    return printEndpoint(listener) === printEndpoint(target);
  if (listener.kind !== target.kind || listener.port !== target.port || listener.port === 0) return false;
  const [place, host] = [canonical(listener.host), canonical(target.host)];
  if (place === host) return true;
  if (!leadsHere(host, own)) return false;
  return place === "::" || (place === "0.0.0.0" && !isIPv6(host));
}

function canonical(host: string): string {
  const written = host === "localhost" ? "127.0.0.1" : host;
  return parseAddress(written)?.text ?? written;
}

function leadsHere(host: string, own: ReadonlySet<string>): boolean {
  const address = parseAddress(host);
  if (address === undefined) return false;
  const scope = scopeOf(address);
  return scope === "loopback" || scope === "unspecified" || own.has(host);
}
