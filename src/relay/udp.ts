/** Relays a UDP service as inetd and tcpd serve one: the first datagram of a source is judged, then it has a session. */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";

import { UdpSession, type UdpEnd } from "./udp-session.ts";

/** Where a datagram came from, or goes to. */
export interface UdpEndpoint {
  readonly address: string;
  readonly port: number;
}

/** What the judge of a first datagram says: undefined refuses; otherwise the session's end is told to `ended`. */
export interface UdpAllowed {
  readonly ended: (end: UdpEnd) => void;
}

export interface UdpRelayOptions {
  /** Numeric; port 0 takes a free one. */
  readonly listen: UdpEndpoint;
  /** Numeric: a backend by name is resolved by the caller. */
  readonly backend: UdpEndpoint;
  /**
   * Decides about a source; never rejects. Datagrams that come from it meanwhile wait, a few of them. `signal` aborts
   * when the relay is closed.
   */
  readonly judge: (client: UdpEndpoint, signal: AbortSignal) => Promise<UdpAllowed | undefined>;
  /** A session ends after so long without a datagram either way; it has no other end. */
  readonly idleMs: number;
  /** Sources served or judged at once; a datagram of one more is dropped and counted. */
  readonly maxSessions: number;
  /** The same for one address, whatever its ports. */
  readonly maxPerAddress: number;
}

/** A refusal is remembered for a moment, so that a source that repeats itself is not judged for every datagram. */
const refusedMs = 1000;

/** Datagrams of one source that wait for its verdict. */
const maxWaiting = 16;

type Source =
  | { readonly kind: "judging"; readonly waiting: Buffer[] }
  | { readonly kind: "refused"; readonly timer: NodeJS.Timeout }
  | { readonly kind: "session"; readonly session: UdpSession };

/**
 * One UDP listener.
 *
 * The backend may answer from another port, as TFTP does; the session follows it (see `UdpSession`). Answers go out from
 * the port that the client wrote to. On a wildcard address the kernel chooses the answer's source address: Node does not
 * tell which address a datagram was for.
 */
export class UdpRelay {
  readonly #options: UdpRelayOptions;
  readonly #socket: Socket;
  readonly #sources = new Map<string, Source>();
  readonly #perAddress = new Map<string, number>();
  readonly #closing = new AbortController();
  /** Datagrams dropped because a limit was reached. */
  dropped = 0;

  private constructor(options: UdpRelayOptions, socket: Socket) {
    this.#options = options;
    this.#socket = socket;
    socket.on("message", (datagram, from) => this.#receive(datagram, from));
    // An ICMP error for an answer that nobody wanted; the session ends by its idle time.
    socket.on("error", () => undefined);
  }

  /** @throws the error of bind(2) */
  static async listen(options: UdpRelayOptions): Promise<UdpRelay> {
    const { address, port } = options.listen;
    const socket = createSocket({ type: isIPv6(address) ? "udp6" : "udp4", recvBufferSize: 2 ** 20 });
    socket.bind({ address, port });
    await once(socket, "listening");
    return new UdpRelay(options, socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  get sessions(): number {
    return [...this.#sources.values()].filter(({ kind }) => kind === "session").length;
  }

  /** Ends every session with the cause given, and the listener; once. */
  async close(cause: UdpEnd["cause"] = "drain"): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(cause);
    for (const source of this.#sources.values()) {
      if (source.kind === "refused") clearTimeout(source.timer);
      if (source.kind === "session") source.session.close(cause);
    }
    this.#sources.clear();
    this.#socket.close();
    await once(this.#socket, "close");
  }

  #receive(datagram: Buffer, { address, port }: RemoteInfo): void {
    const client = { address, port };
    const key = `${address} ${port}`;
    const source = this.#sources.get(key);
    switch (source?.kind) {
      case "refused":
        return;
      case "judging":
        if (source.waiting.length < maxWaiting) source.waiting.push(datagram);
        else this.dropped += 1;
        return;
      case "session":
        if (source.session.takes(datagram)) {
          source.session.send(datagram);
          return;
        }
        // A new request from the same port is a new first datagram.
        source.session.close("client_closed");
        break;
      case undefined:
        break;
    }
    const ofAddress = this.#perAddress.get(address) ?? 0;
    if (this.#sources.size >= this.#options.maxSessions || ofAddress >= this.#options.maxPerAddress) {
      this.dropped += 1;
      return;
    }
    this.#perAddress.set(address, ofAddress + 1);
    const waiting = [datagram];
    this.#sources.set(key, { kind: "judging", waiting });
    void this.#judge(key, client, waiting);
  }

  async #judge(key: string, client: UdpEndpoint, waiting: readonly Buffer[]): Promise<void> {
    const { judge, backend, idleMs } = this.#options;
    const { signal } = this.#closing;
    const allowed = await judge(client, signal).catch(() => undefined);
    if (signal.aborted) {
      allowed?.ended({ upBytes: 0, downBytes: 0, cause: "drain" });
      return;
    }
    if (allowed === undefined) {
      const timer = setTimeout(() => this.#forget(key, client.address), refusedMs);
      this.#sources.set(key, { kind: "refused", timer });
      return;
    }
    const session: UdpSession = new UdpSession({
      backend,
      idleMs,
      answer: (datagram) => this.#socket.send(datagram, client.port, client.address),
      ended: (end) => {
        const now = this.#sources.get(key);
        if (now?.kind === "session" && now.session === session) this.#forget(key, client.address);
        allowed.ended(end);
      },
    });
    this.#sources.set(key, { kind: "session", session });
    for (const datagram of waiting) session.send(datagram);
  }

  #forget(key: string, address: string): void {
    this.#sources.delete(key);
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#perAddress.set(address, left);
    else this.#perAddress.delete(address);
  }
}
