/** Binds the listening sockets, and takes their connections, each paused before a byte is read; two steps, so that two processes can share them. */

import { unlink } from "node:fs/promises";
import { connect, createServer, isIPv6, type Server } from "node:net";
import { type BindPlace, bindSocket, type BoundSocket } from "../platform/bound-sockets.ts";
import { acceptBare, type BareAccess } from "../platform/node-handle.ts";
import { Wire } from "../platform/wire.ts";
import { type ListenEndpoint, printEndpoint } from "./endpoint.ts";

/** Why a listening socket cannot be had; thrown by `bind` and `Listener.open`. `hint` says what to do. */
export class ListenError extends Error {
  readonly hint: string;

  constructor(endpoint: ListenEndpoint, cause: unknown) {
    const code = codeOf(cause);
    super(`cannot listen on ${printEndpoint(endpoint)}: ${reasons[code]?.[0] ?? code}`, { cause });
    this.name = "ListenError";
    const port = "port" in endpoint ? String(endpoint.port) : "";
    const hint = reasons[code]?.[1] ?? "";
    this.hint = hint.replace("PORT", port).replace("-ltnp", endpoint.kind === "udp" ? "-lunp" : "-ltnp");
  }
}

/** What to bind. */
export interface BindOptions {
  readonly endpoint: ListenEndpoint;
  /** An IPv6 wildcard takes IPv4 clients too, unless the same port has an IPv4 listener of its own. */
  readonly isIpv6Only: boolean;
  /** The descriptor that the service manager holds for a "systemd" endpoint, or has kept for another one. */
  readonly descriptor?: number;
  /** It takes datagrams, and not connections. */
  readonly isDatagram: boolean;
}

/** A bound socket, and where it really is: the port that the kernel chose where 0 was asked for. */
export interface Bound {
  readonly address: ListenEndpoint;
  readonly socket: BoundSocket;
}

const reasons: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  EADDRINUSE: [
    "the address is in use",
    '"ss -ltnp sport = :PORT" names the program that listens there; where that is systemd, a socket unit holds it, as ssh.socket does ("systemctl list-sockets")',
  ],
  EACCES: [
    "permission denied",
    "ports below 1024 need root or CAP_NET_BIND_SERVICE (AmbientCapabilities= in a systemd unit)",
  ],
  EADDRNOTAVAIL: ["this machine has no such address", '"ip address" lists those it has'],
  EAFNOSUPPORT: [
    "this machine does not speak that address family",
    "remove the IPv6 listener, or turn IPv6 on",
  ],
  ENOTINHERITED: [
    "the service manager gave us no socket of that name",
    "the socket unit needs FileDescriptorName= with this name, and Service= with ours",
  ],
  EINVAL: [
    "it is no socket of the kind that the service needs",
    "the socket unit needs ListenDatagram= for a service with a udp: backend, and ListenStream= for all others",
  ],
  ENOENT: ["the folder of the socket does not exist", "create it before the daemon starts"],
};

/** Clients that the kernel queues before they are accepted; it lowers this to net.core.somaxconn. */
const backlog = 4096;

/** Binds, and does not accept yet. Rejects with a `ListenError`. */
export async function bind(options: BindOptions): Promise<Bound> {
  const { endpoint, isDatagram, descriptor } = options;
  try {
    if (endpoint.kind === "unix" && descriptor === undefined) await removeStale(endpoint.path);
    const socket = bindSocket(placeOf(options));
    const { address } = socket;
    // Records name a socket unit by its name; of inherited ones only UDP needs more than that.
    const isUnknown = address === undefined || (endpoint.kind === "systemd" && !isDatagram);
    return {
      address: isUnknown ? endpoint : { kind: isDatagram ? "udp" : "tcp", ...address },
      socket,
    };
  } catch (cause) {
    throw new ListenError(endpoint, cause);
  }
}

/** Accepts from one bound socket. */
export class Listener {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Listens, and accepts from then on.
   *
   * @param options.descriptor a bound socket; it is closed with the listener
   *
   * Rejects with a `ListenError`: another program may have begun to listen on the address since it was bound.
   */
  static async open(options: {
    readonly descriptor: number;
    /** For messages. */
    readonly endpoint: ListenEndpoint;
    /** Accepts without making Sockets, where the listener is one of TCP; absent = makes them. */
    readonly bare?: BareAccess | undefined;
    readonly onConnection: (client: Wire) => void;
  }): Promise<Listener> {
    const { bare, onConnection } = options;
    // Paused: until the verdict nothing is read. Half-open: an early FIN of the client must not end the answer.
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) =>
      onConnection(Wire.of(socket)),
    );
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen({ fd: options.descriptor }, backlog, () => {
          server.off("error", reject);
          resolve();
        });
      });
    } catch (cause) {
      throw new ListenError(options.endpoint, cause);
    }
    if (bare !== undefined)
      acceptBare(server, bare, (handle, local) => onConnection(Wire.bare(bare, handle, local)));
    // An accept that fails (ECONNABORTED, EMFILE) is not the end of the listener.
    server.on("error", () => undefined);
    return new Listener(server);
  }

  /** Stops to accept; connections that were accepted live on. Clients in the kernel's queue are reset by it, unless others listen too. */
  close(): void {
    this.#server.close();
  }
}

function placeOf({ endpoint, isIpv6Only, descriptor, isDatagram }: BindOptions): BindPlace {
  if (descriptor !== undefined)
    return {
      kind: "descriptor",
      descriptor,
      isDatagram,
      ...(endpoint.kind === "unix" && { path: endpoint.path }),
    };
  switch (endpoint.kind) {
    case "tcp":
    case "udp":
      return { ...endpoint, isIpv6: isIPv6(endpoint.host), isIpv6Only };
    case "unix":
      return endpoint;
    case "systemd":
      throw Object.assign(new Error("not inherited"), { code: "ENOTINHERITED" });
  }
}

/** Removes the file of a unix socket that nobody listens on any more, as a daemon leaves it that was killed. */
async function removeStale(path: string): Promise<void> {
  const isDead = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => resolve(false));
    probe.on("error", (cause: NodeJS.ErrnoException) => resolve(cause.code === "ECONNREFUSED"));
    probe.on("connect", () => probe.destroy());
  });
  if (isDead) await unlink(path);
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
}
