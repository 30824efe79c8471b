/** Binds listening sockets without taking anything from them, so that worker processes can; the one place that knows how Node keeps them. */

import { renameSync, rmSync, statSync } from "node:fs";
import * as dgram from "node:dgram";
import * as net from "node:net";
import { getSystemErrorMap } from "node:util";

import { hasUdpListener } from "./udp-table.ts";

/** A socket that is bound and that nothing is taken from. */
export interface BoundSocket {
  /** As the kernel says: the port that it chose where 0 was asked for; absent for unix sockets. */
  readonly address?: { readonly host: string; readonly port: number };
  /**
   * For `net.Server#listen({ fd })` or `dgram.Socket#bind({ fd })` in this process; the listener closes it, so it takes `forget`
   * then in place of `close`.
   */
  readonly descriptor: number;
  /** What `ChildProcess#send` takes, TCP, UDP or pipe alike; the other process listens on `descriptorOf` what it receives. */
  readonly sendable: net.Server;
  /** Closes the socket, and removes the file of a unix socket if it is still ours. */
  close(): void;
  /** Only removes the file. */
  forget(): void;
}

/** Where to bind. A descriptor is one that the service manager holds for us. */
export type BindPlace =
  | {
      readonly kind: "tcp" | "udp";
      readonly host: string;
      readonly port: number;
      readonly isIpv6: boolean;
      readonly isIpv6Only: boolean;
    }
  | { readonly kind: "unix"; readonly path: string }
  | {
      readonly kind: "descriptor";
      readonly descriptor: number;
      readonly isDatagram: boolean;
      /** The file of a unix socket that is ours to remove. */
      readonly path?: string;
    };

/** What Node's own wrappers of sockets have; TCP, UDP and pipes alike. */
interface Handle {
  readonly fd: number;
  getsockname?(into: { address?: string; port?: number }): number;
  close(): void;
}

type CreateServerHandle = (
  address: string | null,
  port: number,
  family: number,
  descriptor?: number,
  flags?: number,
) => Handle | number;

type CreateDatagramHandle = (
  address: string | undefined,
  port: number,
  type: "udp4" | "udp6",
  descriptor?: number,
  flags?: number,
) => Handle | number;

/** UV_TCP_IPV6ONLY, and UV_UDP_IPV6ONLY. Source: uv.h. */
const IPV6_ONLY = 1;

/** UV_UDP_REUSEADDR. Source: uv.h. */
const REUSE_ADDRESS = 4;

/**
 * Binds; the first process that listens on it lets clients in.
 *
 * A `net.Server` would accept as soon as it listens, a `dgram.Socket` would read as soon as it is bound, and neither can be told not
 * to. node:cluster binds by the same functions.
 *
 * @throws an error with `code`, as the kernel says (EADDRINUSE, EACCES, ...)
 */
export function bindSocket(place: BindPlace): BoundSocket {
  switch (place.kind) {
    case "tcp": {
      const family = place.isIpv6 ? 6 : 4;
      const handle = open(place.host, place.port, family, undefined, place.isIpv6Only ? IPV6_ONLY : 0);
      return bound(handle, addressOf(handle));
    }
    case "udp":
      return boundDatagram(bindDatagram(place));
    case "unix":
      return bindUnix(place.path);
    case "descriptor": {
      if (place.isDatagram) return boundDatagram(openDatagram(undefined, 0, "udp4", place.descriptor));
      // Node asserts that there is neither an address nor a port with a descriptor.
      const handle = open(null, 0, -1, place.descriptor);
      return bound(handle, addressOf(handle), place.path === undefined ? undefined : removerOf(place.path));
    }
  }
}

/** The number of a socket that came from another process, for `net.Server#listen({ fd })`; undefined when it is none. */
export function descriptorOf(received: unknown): number | undefined {
  const isHandle = typeof received === "object" && received !== null && "fd" in received;
  return isHandle && typeof received.fd === "number" && received.fd >= 0 ? received.fd : undefined;
}

/**
 * Bound under another name first and then renamed: libuv removes the name that it has bound when it closes, and by then a
 * successor of ours may listen under `path`.
 */
function bindUnix(path: string): BoundSocket {
  const first = `${path}.${process.pid}`;
  rmSync(first, { force: true });
  const handle = open(first, -1, -1);
  try {
    renameSync(first, path);
    return bound(handle, undefined, removerOf(path));
  } catch (cause) {
    handle.close();
    throw cause;
  }
}

/** Removes the file that is there now, if it is there still. */
function removerOf(path: string): () => void {
  const { ino } = statSync(path, { bigint: true });
  return () => {
    try {
      if (statSync(path, { bigint: true, throwIfNoEntry: false })?.ino === ino) rmSync(path);
    } catch {
      // Who has given up root may not remove it any more: nobody listens on it, so the next start replaces it.
    }
  };
}

/** Undefined for unix sockets. */
function addressOf(handle: Handle): { host: string; port: number } | undefined {
  const name: { address?: string; port?: number } = {};
  // libuv keeps EADDRINUSE back until somebody asks. Source: uv_tcp_bind.
  const status = handle.getsockname?.(name) ?? 0;
  if (status < 0) {
    handle.close();
    throw systemError(status);
  }
  return name.address === undefined || name.port === undefined
    ? undefined
    : { host: name.address, port: name.port };
}

function bound(
  handle: Handle,
  address?: { host: string; port: number },
  onClose: () => void = () => undefined,
): BoundSocket {
  return {
    ...(address === undefined ? undefined : { address }),
    descriptor: handle.fd,
    sendable: handle as unknown as net.Server,
    close: () => {
      onClose();
      handle.close();
    },
    forget: onClose,
  };
}

/**
 * Sockets that an older process of ours has connected to its clients may be on the port still. They let us in (SO_REUSEADDR on both
 * sides), and so would a second daemon that listens there, by accident; so the port is asked for alone first.
 */
function bindDatagram({
  host,
  port,
  isIpv6,
  isIpv6Only,
}: Extract<BindPlace, { kind: "tcp" | "udp" }>): Handle {
  const flags = isIpv6Only ? IPV6_ONLY : 0;
  const type = isIpv6 ? "udp6" : "udp4";
  try {
    return openDatagram(host, port, type, undefined, flags);
  } catch (cause) {
    const isTaken = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
    if (!isTaken || hasUdpListener(host, port)) throw cause;
    return openDatagram(host, port, type, undefined, flags | REUSE_ADDRESS);
  }
}

function boundDatagram(handle: Handle): BoundSocket {
  const name: { address?: string; port?: number } = {};
  handle.getsockname?.(name);
  return bound(handle, { host: name.address ?? "0.0.0.0", port: name.port ?? 0 });
}

function open(...args: Parameters<CreateServerHandle>): Handle {
  const create = (net as unknown as { _createServerHandle?: CreateServerHandle })._createServerHandle;
  if (create === undefined) throw new Error("this Node cannot bind a socket without accepting from it");
  const made = create(...args);
  if (typeof made === "number") throw systemError(made);
  return made;
}

function openDatagram(...args: Parameters<CreateDatagramHandle>): Handle {
  const create = (dgram as unknown as { _createSocketHandle?: CreateDatagramHandle })._createSocketHandle;
  if (create === undefined) throw new Error("this Node cannot bind a UDP socket without reading from it");
  // Node wants us to make a dgram.Socket (DEP0112), which would read; there is no other way, so nobody need be warned.
  const { noDeprecation } = process;
  process.noDeprecation = true;
  try {
    const made = create(...args);
    if (typeof made === "number") throw systemError(made);
    return made;
  } finally {
    process.noDeprecation = noDeprecation ?? false;
  }
}

function systemError(status: number): NodeJS.ErrnoException {
  const [code = "UNKNOWN", message = "unknown error"] = getSystemErrorMap().get(status) ?? [];
  return Object.assign(new Error(message), { code, errno: status });
}
