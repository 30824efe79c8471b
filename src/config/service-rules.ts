/** What the keys of one service may not say together; the schema asks this after it has read each of them. */

import type { BackendEndpoint, ListenEndpoint } from "../listen/endpoint.ts";
import { printEndpoint } from "../listen/endpoint.ts";

/** The keys of a service that have to do with one another. */
export interface ServiceKeys {
  readonly listen: readonly ListenEndpoint[];
  readonly backend?: readonly BackendEndpoint[] | undefined;
  readonly exec?: readonly string[] | undefined;
  readonly refuse: string;
  /** Milliseconds. */
  readonly refuseAfter: number;
  readonly source: string;
  readonly maxPerSource?: number | undefined;
  readonly maxPerBackend?: number | undefined;
  readonly health: { readonly fall: number; readonly rise: number; readonly sessions: string };
  readonly proxyProtocol: { readonly acceptFrom: readonly string[]; readonly send?: string | undefined };
}

/** Tells of one fault; `path` leads to the key from the service, and the text behind "; " says what to write instead. */
export type Complain = (message: string, path?: readonly (string | number)[]) => void;

/** Whether a service takes datagrams: its backend, or a place where it listens, begins with "udp:". */
export function isUdp({ listen, backend = [] }: Pick<ServiceKeys, "listen" | "backend">): boolean {
  return [...listen, ...backend].some(({ kind }) => kind === "udp");
}

/** Looks for keys that contradict each other. */
export function checkService(service: ServiceKeys, complain: Complain): void {
  const { backend, exec } = service;
  if ((backend === undefined) === (exec === undefined))
    complain('needs either "backend" or "exec"; write one of them');
  const { fall, rise, sessions } = service.health;
  const asksHealth = fall !== 1 || rise !== 1 || sessions !== "keep";
  if (asksHealth && (exec !== undefined || isUdp(service)))
    complain('only backends of connections have a health; leave "health" out', ["health"]);
  if (service.maxPerBackend !== undefined && (exec !== undefined || isUdp(service)))
    complain('only backends of connections have it; use "maxConnections"', ["maxPerBackend"]);
  if (isUdp(service)) checkUdp(service, complain);
  else checkTcp(service, complain);
}

function checkTcp(service: ServiceKeys, complain: Complain): void {
  const { backend, exec, maxPerSource, source, proxyProtocol } = service;
  const { acceptFrom, send } = proxyProtocol;
  const printed = (backend ?? []).map(printEndpoint);
  for (const [index, text] of printed.entries())
    if (printed.indexOf(text) < index)
      complain(`"${text}" stands twice in the list; leave it out`, ["backend", index]);
  if (maxPerSource !== undefined)
    complain('only UDP services have it; leave "maxPerSource" out', ["maxPerSource"]);
  const isUnix = backend?.some(({ kind }) => kind === "unix") === true;
  if (source === "client" && (exec !== undefined || isUnix)) {
    const message = isUnix
      ? 'a unix socket has no source address; use a TCP backend, or "proxyProtocol: {send: v2}"'
      : '"exec" needs no source: the program has the client\'s socket itself; leave "source" out';
    complain(message, ["source"]);
  }
  if (exec === undefined) return;
  if (send !== undefined) {
    const message =
      '"exec" has no use for a PROXY header: the program has the socket itself; leave "send" out';
    complain(message, ["proxyProtocol", "send"]);
  }
  if (acceptFrom.length > 0) {
    const message =
      '"exec" cannot follow a PROXY header: the program would see the proxy as its client; use "backend"';
    complain(message, ["exec"]);
  }
}

function checkUdp(service: ServiceKeys, complain: Complain): void {
  const { listen, backend, exec, refuse, refuseAfter, source, proxyProtocol } = service;
  for (const [index, endpoint] of listen.entries()) {
    if (endpoint.kind === "udp" || endpoint.kind === "systemd") continue;
    const hint =
      endpoint.kind === "tcp"
        ? `write "udp:${printEndpoint(endpoint)}", or give TCP a service of its own with the same "daemon"`
        : 'write "udp:0.0.0.0:69", or "systemd:NAME" for a socket with ListenDatagram=';
    complain(`a UDP service cannot listen on "${printEndpoint(endpoint)}"; ${hint}`, ["listen", index]);
  }
  if (exec !== undefined) {
    const message =
      '"exec" cannot be given datagrams, of which one socket has those of all clients; let the program listen by itself, and write "backend: udp:127.0.0.1:6969"';
    complain(message, ["exec"]);
  }
  const wrong = backend?.find(({ kind }) => kind !== "udp");
  if (wrong !== undefined) {
    const address = wrong.kind === "tcp" ? printEndpoint(wrong) : "127.0.0.1:6969";
    const message = `a UDP service cannot send to "${printEndpoint(wrong)}"; write "udp:${address}"`;
    complain(message, ["backend"]);
  } else if (backend !== undefined && backend.length > 1) {
    const message =
      "a UDP service has one backend: nobody hears whether a datagram arrives; write one of them";
    complain(message, ["backend"]);
  }
  if (refuse !== "reset") {
    const message = `refused datagrams are dropped, nothing can be "${refuse}"; leave "refuse" out`;
    complain(message, ["refuse"]);
  }
  if (refuseAfter > 0) {
    const message = 'refused datagrams have no answer that a time could be taken of; leave "refuseAfter" out';
    complain(message, ["refuseAfter"]);
  }
  if (source === "client") {
    const message = 'a UDP service sends from our own address; leave "source" out';
    complain(message, ["source"]);
  }
  if (proxyProtocol.acceptFrom.length > 0 || proxyProtocol.send !== undefined) {
    const message = 'a UDP service has no PROXY headers; leave "proxyProtocol" out';
    complain(message, ["proxyProtocol", proxyProtocol.send === undefined ? "acceptFrom" : "send"]);
  }
}
