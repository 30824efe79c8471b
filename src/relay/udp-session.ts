/** One UDP client and its backend: a socket of its own towards the backend, so that this can answer from any port. */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6, SocketAddress } from "node:net";

import { IdleWatch } from "./idle.ts";
import type { Relayed } from "./relay.ts";

/** A numeric address with its port. */
export interface UdpEndpoint {
  readonly address: string;
  readonly port: number;
}

/** How a session ended; "idle_timeout" is the ordinary end. `detail` is the error behind another one. */
export interface UdpEnd extends Relayed {
  readonly detail?: string;
}

export interface UdpSessionOptions {
  readonly backend: UdpEndpoint;
  /** The session ends after so long without a datagram either way. */
  readonly idleMs: number;
  /** Sends a datagram of the backend to the client; false where there is no room for it, or no way any more. */
  readonly answer: (datagram: Buffer) => boolean;
  /** Called once. */
  readonly ended: (end: UdpEnd) => void;
}

/** Bytes that wait in a socket for room in the kernel; what comes then is dropped, as the kernel itself would. */
export const maxQueuedBytes = 2 ** 20;

/**
 * Sends to the backend's port until the backend answers from another one; from then on that port is the session's, and
 * nothing from elsewhere passes. RFC 1350 section 4: the first answer chooses the transfer's port for good.
 */
export class UdpSession {
  readonly #options: UdpSessionOptions;
  /** As the kernel spells the sender of an answer. */
  readonly #backendAddress: string;
  readonly #socket: Socket;
  readonly #idle: IdleWatch;
  /** Absent until the backend has answered. */
  #backendPort: number | undefined;
  #upBytes = 0;
  #downBytes = 0;
  #isOpen = true;
  #isBound = false;
  readonly #waiting: Buffer[] = [];

  constructor(options: UdpSessionOptions) {
    const { address } = options.backend;
    const isV6 = isIPv6(address);
    this.#options = options;
    this.#backendAddress = isV6 ? canonical(address) : address;
    this.#socket = createSocket({ type: isV6 ? "udp6" : "udp4", recvBufferSize: 2 ** 18 });
    this.#idle = new IdleWatch(options.idleMs, () =>
      this.close(
        "idle_timeout",
        this.#backendPort === undefined ? "the backend has not answered" : undefined,
      ),
    );
    this.#socket.on("message", (datagram, from) => this.#receive(datagram, from));
    // Before it is bound, what is wrong is on our side: no descriptors, no ports.
    this.#socket.on("error", ({ message }) =>
      this.close(this.#isBound ? "backend_unreachable" : "internal", message),
    );
    // Nobody outside may answer in the place of a backend on this machine.
    this.#socket.bind({ address: ownAddress(address), port: 0 }, () => this.#flush());
  }

  get upBytes(): number {
    return this.#upBytes;
  }

  get downBytes(): number {
    return this.#downBytes;
  }

  /** False for a request that wants an exchange of its own: TFTP's, when this one has a port of its own already. */
  takes(datagram: Buffer): boolean {
    const hasMoved = this.#backendPort !== undefined && this.#backendPort !== this.#options.backend.port;
    return !(hasMoved && isTftpRequest(datagram));
  }

  send(datagram: Buffer): void {
    if (!this.#isOpen) return;
    this.#idle.touch();
    if (!this.#isBound) this.#waiting.push(datagram);
    else if (this.#socket.getSendQueueSize() < maxQueuedBytes) this.#send(datagram);
  }

  close(cause: Relayed["cause"], detail?: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#idle.close();
    this.#socket.close();
    const end = { upBytes: this.#upBytes, downBytes: this.#downBytes, cause };
    this.#options.ended(detail === undefined ? end : { ...end, detail });
  }

  #flush(): void {
    this.#isBound = true;
    for (const datagram of this.#waiting.splice(0)) if (this.#isOpen) this.#send(datagram);
  }

  #send(datagram: Buffer): void {
    const { address, port } = this.#options.backend;
    this.#upBytes += datagram.length;
    this.#socket.send(datagram, this.#backendPort ?? port, address, (error) => {
      if (!error || !this.#isOpen) return;
      this.#upBytes -= datagram.length;
      this.close("backend_unreachable", error.message);
    });
  }

  #receive(datagram: Buffer, from: RemoteInfo): void {
    if (!this.#isOpen || from.address !== this.#backendAddress) return;
    this.#backendPort ??= from.port;
    if (from.port !== this.#backendPort) return;
    this.#idle.touch();
    if (this.#options.answer(datagram)) this.#downBytes += datagram.length;
  }
}

/** Where to send from: loopback towards loopback, else whatever the route says. */
function ownAddress(backend: string): string {
  if (!isIPv6(backend)) return backend.startsWith("127.") ? "127.0.0.1" : "0.0.0.0";
  return canonical(backend) === "::1" ? "::1" : "::";
}

function canonical(address: string): string {
  const [bare = "", zone] = address.split("%", 2);
  const text = new SocketAddress({ address: bare, family: "ipv6" }).address;
  return zone === undefined ? text : `${text}%${zone}`;
}

/** Read or write request: opcode 1 or 2, a file name and a mode, each ended by NUL. RFC 1350 section 5. */
function isTftpRequest(datagram: Buffer): boolean {
  const [high, opcode] = datagram;
  if (high !== 0 || (opcode !== 1 && opcode !== 2)) return false;
  const nameEnd = datagram.indexOf(0, 2);
  const modeEnd = nameEnd < 0 ? -1 : datagram.indexOf(0, nameEnd + 1);
  if (modeEnd < 0) return false;
  return /^(netascii|octet|mail)$/i.test(datagram.toString("latin1", nameEnd + 1, modeEnd));
}
