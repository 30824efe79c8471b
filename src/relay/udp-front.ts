/** A socket for one UDP client: bound where the listener is, and connected to the client, so that its session can do without the listener. */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";

import { maxQueuedBytes, type UdpEndpoint } from "./udp-session.ts";

export interface UdpFrontOptions {
  /** Where the listener is bound; its socket must allow others there (SO_REUSEADDR), which libuv sees to. */
  readonly server: UdpEndpoint;
  readonly client: UdpEndpoint;
  /** Hears of every datagram; before the socket was connected, somebody else's may have come in by it. */
  readonly onDatagram: (datagram: Buffer, from: RemoteInfo) => void;
  /** The client's machine says that nobody has the port any more (ICMP). */
  readonly onGone: () => void;
  /** It is open, or it cannot be had, for want of descriptors or of the right to bind the port; `isOpen` says which. */
  readonly onSettled: () => void;
}

/**
 * The kernel gives a datagram to the socket that is connected to its sender before any other. So a flood at the listener takes no
 * room from sessions, and they go on when the listener is closed, as it is for a restart.
 *
 * On a wildcard address the kernel connects from the address of its own choice; where the client has written to another one of
 * ours, its datagrams go on to the listener.
 */
export class UdpFront {
  readonly #options: UdpFrontOptions;
  readonly #socket: Socket;
  #state: "opening" | "open" | "closed" = "opening";

  constructor(options: UdpFrontOptions) {
    const { server, client } = options;
    const isV6 = isIPv6(server.address);
    this.#options = options;
    this.#socket = createSocket({
      type: isV6 ? "udp6" : "udp4",
      reuseAddr: true,
      ipv6Only: isV6 && !client.address.startsWith("::ffff:"),
      recvBufferSize: 2 ** 18,
    });
    this.#socket.on("message", (datagram, from) => options.onDatagram(datagram, from));
    this.#socket.on("error", (error) => this.#failed(error));
    this.#socket.bind({ address: server.address, port: server.port }, () => this.#connect());
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Sends to the client; false where there is no room: then it is lost, as datagrams are. */
  send(datagram: Buffer): boolean {
    if (this.#socket.getSendQueueSize() >= maxQueuedBytes) return false;
    this.#socket.send(datagram, (error) => {
      if (error) this.#failed(error);
    });
    return true;
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#socket.close();
  }

  #connect(): void {
    const { client } = this.#options;
    if (this.#state === "closed") return;
    this.#socket.connect(client.port, client.address, (error?: Error) => {
      if (this.#state === "closed") return;
      if (error !== undefined && error !== null) return this.#failed(error);
      this.#state = "open";
      this.#options.onSettled();
    });
  }

  #failed(error: NodeJS.ErrnoException): void {
    if (this.#state === "opening") {
      this.close();
      this.#options.onSettled();
    } else if (this.#state === "open" && error.code === "ECONNREFUSED") this.#options.onGone();
  }
}
