/** Takes the datagrams of a UDP service as inetd and tcpd do: the first one of a client is judged, then it has a session. */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";

import { abortCause } from "./relay.ts";
import { UdpFront } from "./udp-front.ts";
import { maxQueuedBytes, type UdpEnd, type UdpEndpoint, UdpSession } from "./udp-session.ts";

/** A client that has sent its first datagram; more of them wait until somebody decides. */
export interface UdpArrival {
  readonly client: UdpEndpoint;
  /** Where we listen: a wildcard address where we listen on one, since Node does not tell which address was written to. */
  readonly server: UdpEndpoint;
  /**
   * Gives the client a session, and resolves at its end; never rejects. A client that is not joined is refused.
   *
   * @param options.idleMs the session ends after so long without a datagram either way
   * @param options.signal aborting ends it; the reason is the cause to report
   */
  join(options: {
    readonly backend: UdpEndpoint;
    readonly idleMs: number;
    readonly signal: AbortSignal;
  }): Promise<UdpEnd>;
  /** Bytes moved so far. */
  traffic(): { readonly upBytes: number; readonly downBytes: number };
}

export interface UdpListenerOptions {
  /** A bound socket; it is closed with the listener. */
  readonly descriptor: number;
  /** Where it is bound. */
  readonly server: UdpEndpoint;
  /** Serves one client to its end, or refuses it by not joining it; never rejects. */
  readonly serve: (arrival: UdpArrival) => Promise<void>;
  /** Hears of a datagram that was dropped, either way, for want of room. */
  readonly onDropped?: () => void;
}

/** What strangers can make us hold, who may send from as many forged addresses as they like. */
const bounds = {
  /** Clients without a verdict. */
  judging: 1024,
  /** Datagrams of one client that wait for its verdict. */
  waiting: 16,
  /** A refusal is remembered for a moment, so that a client that repeats itself is not judged for every datagram. */
  refusedMs: 1000,
  refused: 4096,
} as const;

type Source =
  | { readonly kind: "judging"; readonly waiting: Buffer[] }
  | { readonly kind: "session"; readonly session: UdpSession; readonly front: UdpFront };

/**
 * One UDP listening socket.
 *
 * The backend may answer from another port, as TFTP does; the session follows it (see `UdpSession`). Answers go out from
 * the port that the client wrote to. On a wildcard address the kernel chooses the answer's source address: Node does not
 * tell which address a datagram was for.
 */
export class UdpListener {
  readonly #options: UdpListenerOptions;
  readonly #socket: Socket;
  readonly #sources = new Map<string, Source>();
  /** Until when each client that was refused just now is not asked about again, the oldest first. */
  readonly #refused = new Map<string, number>();
  #judging = 0;
  #isClosing = false;
  #isClosed = false;

  private constructor(options: UdpListenerOptions, socket: Socket) {
    this.#options = options;
    this.#socket = socket;
    socket.on("message", (datagram, from) => this.#receive(datagram, from));
    // An ICMP error for an answer that nobody wanted; the session ends by its idle time.
    socket.on("error", () => undefined);
  }

  /** Takes datagrams from then on. Rejects with what Node says of a descriptor that is no UDP socket. */
  static async open(options: UdpListenerOptions): Promise<UdpListener> {
    const { address } = options.server;
    const socket = createSocket({ type: isIPv6(address) ? "udp6" : "udp4", recvBufferSize: 2 ** 20 });
    const listening = once(socket, "listening");
    const listener = new UdpListener(options, socket);
    socket.bind({ fd: options.descriptor });
    await listening;
    return listener;
  }

  /** Sessions that are open. */
  get sessions(): number {
    return this.#sources.size - this.#judging;
  }

  /** Lets nobody new in. The sessions that are open live on by sockets of their own; the port is free when the last one without has ended. */
  close(): void {
    this.#isClosing = true;
    this.#closeWhenDone();
  }

  #receive(datagram: Buffer, { address, port }: RemoteInfo): void {
    const client = { address, port };
    const key = `${address} ${port}`;
    const source = this.#sources.get(key);
    switch (source?.kind) {
      case "judging":
        if (source.waiting.length < bounds.waiting) source.waiting.push(datagram);
        else this.#options.onDropped?.();
        return;
      case "session":
        if (source.session.takes(datagram)) return source.session.send(datagram);
        // A new request from the same port is a new first datagram.
        source.session.close("client_closed");
        break;
      case undefined:
        break;
    }
    if (this.#isClosing || this.#isRefused(key)) return;
    if (this.#judging >= bounds.judging) return this.#options.onDropped?.();
    void this.#serve(key, client, datagram);
  }

  async #serve(key: string, client: UdpEndpoint, first: Buffer): Promise<void> {
    const { server, serve } = this.#options;
    const judging: Source = { kind: "judging", waiting: [first] };
    let session: UdpSession | undefined;
    this.#sources.set(key, judging);
    this.#judging += 1;
    await serve({
      client,
      server,
      traffic: () => ({ upBytes: session?.upBytes ?? 0, downBytes: session?.downBytes ?? 0 }),
      join: ({ backend, idleMs, signal }) =>
        new Promise((resolve) => {
          if (signal.aborted || this.#isClosed) {
            return resolve({
              upBytes: 0,
              downBytes: 0,
              cause: signal.aborted ? abortCause(signal) : "drain",
            });
          }
          const cut = (): void => opened.close(abortCause(signal));
          const front = new UdpFront({
            server,
            client,
            onDatagram: (datagram, from) => this.#receive(datagram, from),
            onGone: () => opened.close("client_gone"),
            onSettled: () => this.#closeWhenDone(),
          });
          const opened: UdpSession = new UdpSession({
            backend,
            idleMs,
            answer: (datagram) => {
              const isSent = front.isOpen ? front.send(datagram) : this.#answer(datagram, client);
              if (!isSent) this.#options.onDropped?.();
              return isSent;
            },
            ended: (end) => {
              signal.removeEventListener("abort", cut);
              front.close();
              const now = this.#sources.get(key);
              if (now?.kind === "session" && now.session === opened) this.#sources.delete(key);
              resolve(end);
              this.#closeWhenDone();
            },
          });
          signal.addEventListener("abort", cut);
          session = opened;
          this.#judging -= 1;
          this.#sources.set(key, { kind: "session", session: opened, front });
          for (const datagram of judging.waiting) opened.send(datagram);
        }),
    });
    if (session !== undefined) return;
    this.#judging -= 1;
    this.#sources.delete(key);
    this.#refuse(key);
    this.#closeWhenDone();
  }

  /** By the common socket; false where there is no room, or it is closed. */
  #answer(datagram: Buffer, { address, port }: UdpEndpoint): boolean {
    if (this.#isClosed || this.#socket.getSendQueueSize() >= maxQueuedBytes) return false;
    // What cannot be sent is lost, as datagrams are; who wrote to us hears it from its own time limit.
    this.#socket.send(datagram, port, address, () => undefined);
    return true;
  }

  #refuse(key: string): void {
    for (const oldest of this.#refused.keys()) {
      if (this.#refused.size < bounds.refused) break;
      this.#refused.delete(oldest);
    }
    this.#refused.delete(key);
    this.#refused.set(key, performance.now() + bounds.refusedMs);
  }

  #isRefused(key: string): boolean {
    const untilMs = this.#refused.get(key);
    if (untilMs === undefined) return false;
    if (performance.now() < untilMs) return true;
    this.#refused.delete(key);
    return false;
  }

  #closeWhenDone(): void {
    if (!this.#isClosing || this.#isClosed) return;
    for (const source of this.#sources.values()) {
      if (source.kind === "session" && !source.front.isOpen) return;
    }
    this.#isClosed = true;
    this.#socket.close();
  }
}
