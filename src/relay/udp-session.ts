/** One UDP source and its backend: a socket of its own, so that the backend can answer from any port. */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";

import { IdleWatch } from "./idle.ts";
import type { Relayed } from "./relay.ts";

/** How a session ended; "idle_timeout" is the ordinary end. */
export type UdpEnd = Relayed;

export interface UdpSessionOptions {
  readonly backend: { readonly address: string; readonly port: number };
  readonly idleMs: number;
  /** Sends a datagram of the backend to the client. */
  readonly answer: (datagram: Buffer) => void;
  /** Called once. */
  readonly ended: (end: UdpEnd) => void;
}

/**
 * Sends to the backend's port until the backend answers from another one; from then on that port is the session's, and
 * nothing from elsewhere passes. RFC 1350 section 4: the first answer chooses the transfer's port for good.
 */
export class UdpSession {
  readonly #options: UdpSessionOptions;
  readonly #socket: Socket;
  readonly #idle: IdleWatch;
  /** Absent until the backend has answered. */
  #backendPort: number | undefined;
  #upBytes = 0;
  #downBytes = 0;
  #isOpen = true;

  constructor(options: UdpSessionOptions) {
    this.#options = options;
    this.#socket = createSocket({
      type: isIPv6(options.backend.address) ? "udp6" : "udp4",
      recvBufferSize: 2 ** 18,
    });
    this.#idle = new IdleWatch(options.idleMs, () => this.close("idle_timeout"));
    this.#socket.on("message", (datagram, from) => this.#receive(datagram, from));
    this.#socket.on("error", () => this.close("backend_unreachable"));
  }

  /** False for a request that wants an exchange of its own: TFTP's, when this one has a port of its own already. */
  takes(datagram: Buffer): boolean {
    const hasMoved = this.#backendPort !== undefined && this.#backendPort !== this.#options.backend.port;
    return !(hasMoved && isTftpRequest(datagram));
  }

  send(datagram: Buffer): void {
    if (!this.#isOpen) return;
    const { address, port } = this.#options.backend;
    this.#idle.touch();
    this.#upBytes += datagram.length;
    this.#socket.send(datagram, this.#backendPort ?? port, address, (error) => {
      if (error) this.close("backend_unreachable");
    });
  }

  close(cause: UdpEnd["cause"]): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#idle.close();
    this.#socket.close();
    this.#options.ended({ upBytes: this.#upBytes, downBytes: this.#downBytes, cause });
  }

  #receive(datagram: Buffer, from: RemoteInfo): void {
    if (!this.#isOpen || from.address !== this.#options.backend.address) return;
    this.#backendPort ??= from.port;
    if (from.port !== this.#backendPort) return;
    this.#idle.touch();
    this.#downBytes += datagram.length;
    this.#options.answer(datagram);
  }
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
