/** A unix datagram socket that says at once whether the kernel took the datagram; for syslog and for the service manager. */
import { DgramSocket } from "node-unix-socket";

/**
 * What became of one datagram: the kernel has it; the receiver's queue is full (try again later);
 * it is too long for the socket; the receiver listens on a stream instead; or nobody is there.
 */
export type Sent =
  | { readonly kind: "sent" }
  | { readonly kind: "full" }
  | { readonly kind: "tooLong" }
  | { readonly kind: "isStream" }
  | { readonly kind: "failed"; readonly reason: string };

const SENT: Sent = { kind: "sent" };
const FULL: Sent = { kind: "full" };
const TOO_LONG: Sent = { kind: "tooLong" };
const IS_STREAM: Sent = { kind: "isStream" };

/**
 * Sends datagrams to one path of the file system, never waits and never throws.
 *
 * The socket is opened at the first datagram and keeps the event loop alive until `close`. When the receiver's queue is
 * full, node-unix-socket would keep the datagram and poll for a free place: an unconnected datagram socket always polls
 * as writable, so that costs a whole processor until the receiver reads again. We close the socket instead, which
 * drops the datagram; the caller still has it and decides when to try again.
 *
 * Abstract names are not served: the package passes the name as a C string. Source: unix(7).
 */
export class UnixDatagram {
  readonly #path: string;
  #socket: DgramSocket | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  send(bytes: Buffer): Sent {
    let outcome: Sent | undefined;
    try {
      this.#socket ??= open();
      // The callback comes before sendTo returns whenever the kernel has answered; later only for what it had to keep.
      this.#socket.sendTo(bytes, 0, bytes.length, this.#path, (error) => {
        outcome = error === undefined || error === null ? SENT : failure(error);
      });
    } catch (error) {
      outcome = failure(error);
    }
    const result = outcome ?? FULL;
    if (result.kind !== "sent" && result.kind !== "tooLong") this.close();
    return result;
  }

  /** Ends the socket; a later `send` opens a new one. */
  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }
}

function open(): DgramSocket {
  const socket = new DgramSocket();
  // The package closes the socket before it says "error"; the next send reports the trouble. Unheard, it would end the process.
  socket.on("error", () => undefined);
  return socket;
}

/** The package gives strerror(3) texts without codes. */
function failure(error: unknown): Sent {
  const reason = error instanceof Error ? error.message : String(error);
  if (reason.includes("Message too long")) return TOO_LONG;
  if (reason.includes("Protocol wrong type for socket")) return IS_STREAM;
  if (reason.includes("No buffer space available")) return FULL;
  return { kind: "failed", reason };
}
