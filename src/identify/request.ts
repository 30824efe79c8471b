/** What the socket itself tells about a connection: the two endpoints, before anybody is asked. */

import type { Socket } from "node:net";
import type { Endpoint, Request } from "../access/types.ts";

/** What a connection tells of itself; Node's Socket does. */
type Ends = {
  readonly [Key in "destroyed" | "localAddress" | "localPort" | "remoteAddress" | "remotePort"]?:
    Socket[Key] | undefined;
};

/**
 * The request that a new connection makes.
 *
 * Addresses are the kernel's, in the spelling of the C library: lower case, compressed, IPv4-mapped text kept (rules, names
 * and ident see the IPv4 address in it, log lines the text), link-local addresses with their zone ("fe80::1%eth0").
 * A unix-socket peer has the address "localhost" and the name "unknown", as libwrap has it.
 *
 * @param socket as accepted, not yet destroyed
 * @param daemon the process name that the tables match on
 * @returns undefined when the peer is already gone: nobody can say who it was, so it must be refused (`aborted`)
 *
 * Never throws. Source: getpeername(2) ENOTCONN; hosts_access(5).
 */
export function requestOf(socket: Ends, daemon: string): Request | undefined {
  if (socket.destroyed === true) return undefined;
  const server = endpoint(socket.localAddress, socket.localPort);
  // getsockname(2) goes on answering for a TCP socket whose peer is gone; only a unix socket has neither address.
  if (server === undefined) return { daemon, client: unixPeer, server: unixPeer };
  const client = endpoint(socket.remoteAddress, socket.remotePort);
  return client && { daemon, client, server };
}

const unixPeer: Endpoint = { address: "localhost", name: "unknown" };

function endpoint(address: string | undefined, port: number | undefined): Endpoint | undefined {
  if (address === undefined) return undefined;
  return { address, ...(port !== undefined && { port }) };
}
