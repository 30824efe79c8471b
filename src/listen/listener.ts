/** Takes the connections of one listening socket, each paused before a byte is read. */

import { unlink } from "node:fs/promises";
import {
  type AddressInfo,
  connect,
  createServer,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";
import { type ListenEndpoint, printEndpoint } from "./endpoint.ts";

/** Why a listening socket cannot be had; thrown by `Listener.open`. `hint` says what to do. */
export class ListenError extends Error {
  readonly hint: string;

  constructor(endpoint: ListenEndpoint, cause: unknown) {
    const code = codeOf(cause);
    super(`cannot listen on ${printEndpoint(endpoint)}: ${reasons[code]?.[0] ?? code}`, { cause });
    this.name = "ListenError";
    this.hint = (reasons[code]?.[1] ?? "").replace(
      "PORT",
      endpoint.kind === "tcp" ? String(endpoint.port) : "",
    );
  }
}

export interface ListenerOptions {
  readonly endpoint: ListenEndpoint;
  /** An IPv6 wildcard takes IPv4 clients too, unless the same port has an IPv4 listener of its own. */
  readonly isIpv6Only: boolean;
  /** The descriptor that the service manager holds for a "systemd" endpoint. */
  readonly descriptor?: number;
  readonly onConnection: (client: Socket) => void;
}

const reasons: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  EADDRINUSE: ["the address is in use", '"ss -ltnp sport = :PORT" names the program that listens there'],
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
  ENOENT: ["the folder of the socket does not exist", "create it before the daemon starts"],
};

/** Clients that the kernel queues before they are accepted; it lowers this to net.core.somaxconn. */
const backlog = 4096;

/** One listening socket. */
export class Listener {
  readonly #server: Server;
  readonly #endpoint: ListenEndpoint;

  private constructor(server: Server, endpoint: ListenEndpoint) {
    this.#server = server;
    this.#endpoint = endpoint;
  }

  /** Binds and listens. Rejects with a `ListenError`. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const { endpoint, onConnection } = options;
    // Paused: until the verdict nothing is read. Half-open: an early FIN of the client must not end the answer.
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, onConnection);
    try {
      if (endpoint.kind === "unix") await removeStale(endpoint.path);
      await listening(server, options);
    } catch (cause) {
      throw new ListenError(endpoint, cause);
    }
    // An accept that fails (ECONNABORTED, EMFILE) is not the end of the listener.
    server.on("error", () => undefined);
    return new Listener(server, endpoint);
  }

  /** Where it really listens: the port that the kernel chose where 0 was asked for. */
  get address(): ListenEndpoint {
    const address: AddressInfo | string | null = this.#server.address();
    if (address === null || typeof address === "string" || this.#endpoint.kind !== "tcp")
      return this.#endpoint;
    return { kind: "tcp", host: address.address, port: address.port };
  }

  /** Stops to accept; connections that were accepted live on. Clients in the kernel's queue are reset by it. */
  close(): void {
    this.#server.close();
  }
}

function listening(server: Server, options: ListenerOptions): Promise<void> {
  const how = listenOptions(options);
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(how, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function listenOptions({ endpoint, isIpv6Only, descriptor }: ListenerOptions): ListenOptions {
  switch (endpoint.kind) {
    case "tcp":
      return { host: endpoint.host, port: endpoint.port, ipv6Only: isIpv6Only, backlog };
    case "unix":
      return { path: endpoint.path, backlog };
    case "systemd":
      if (descriptor === undefined)
        throw Object.assign(new Error("not inherited"), { code: "ENOTINHERITED" });
      return { fd: descriptor } as ListenOptions; // Node's own types lack it
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
