/** Ways to a syslog receiver: the local socket, UDP, TCP. */
import { createSocket } from "node:dgram";
import type { Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect, isIP } from "node:net";

import type { Outlet } from "./outlet.ts";
import { shorten } from "./syslog.ts";
import { UnixDatagram } from "./unix-datagram.ts";
import { startDeadline } from "./deadline.ts";

/** How long a connection to a receiver may take, name look-up included. */
const CONNECT_MS = 5000;

/** A receiver that takes less than this in one datagram is broken. Source: RFC 5426 section 3.2. */
const SMALLEST_DATAGRAM = 480;

/** What receivers take without being told to take more. Source: rsyslog.conf(5), maxMessageSize. */
const LARGEST_DATAGRAM = 8192;

/** Ends one message on a stream, or counts its bytes in front. Source: RFC 6587 section 3.4. */
export type Framing = "newline" | "nul" | "octet-counting";

/**
 * The local socket. A receiver that listens on a stream there is served as well, with messages ended by NUL as syslog(3) does.
 *
 * @param path a path of the file system; looked up anew for every datagram, so a receiver may come back at any time
 */
export function openUnixSyslog(path: string): Outlet {
  return new UnixOutlet(path);
}

/** Datagrams to a host; what is lost on the way nobody can tell. Source: RFC 5426. */
export function openUdpSyslog(host: string, port: number): Outlet {
  return new UdpOutlet(host, port);
}

/** A connection to a host, or to a local stream socket, opened at the first message and again after each loss. Source: RFC 6587. */
export function openStreamSyslog(
  target: { host: string; port: number } | { path: string },
  framing: Framing,
): Outlet {
  return new StreamOutlet(target, framing);
}

class UnixOutlet implements Outlet {
  readonly #path: string;
  readonly #datagram: UnixDatagram;
  #stream: Outlet | undefined;
  #isClosed = false;

  constructor(path: string) {
    this.#path = path;
    this.#datagram = new UnixDatagram(path);
  }

  async send(lines: readonly string[]): Promise<number> {
    if (this.#isClosed) throw new Error("closed");
    if (this.#stream !== undefined) return this.#sendOnStream(this.#stream, lines);
    let taken = 0;
    for (const line of lines) {
      const sent = this.#sendOne(line);
      if (sent.kind === "full") break;
      if (sent.kind === "isStream") {
        this.#stream = openStreamSyslog({ path: this.#path }, "nul");
        return taken;
      }
      if (sent.kind === "failed") {
        if (taken > 0) break;
        throw new Error(sent.reason);
      }
      taken++;
    }
    return taken;
  }

  close(): void {
    this.#isClosed = true;
    this.#datagram.close();
    this.#stream?.close();
  }

  /** A datagram too long for the socket is cut to what receivers take, and halved until it fits. */
  #sendOne(line: string): ReturnType<UnixDatagram["send"]> {
    let sent = this.#datagram.send(Buffer.from(line));
    for (let max = LARGEST_DATAGRAM; sent.kind === "tooLong" && max >= SMALLEST_DATAGRAM; max /= 2) {
      sent = this.#datagram.send(Buffer.from(shorten(line, Math.floor(max))));
    }
    return sent;
  }

  /** The next receiver at the path may take datagrams again, so a stream that breaks is forgotten. */
  async #sendOnStream(stream: Outlet, lines: readonly string[]): Promise<number> {
    try {
      return await stream.send(lines);
    } catch (error) {
      stream.close();
      this.#stream = undefined;
      throw error;
    }
  }
}

class UdpOutlet implements Outlet {
  readonly #host: string;
  readonly #port: number;
  #socket: Promise<UdpSocket> | undefined;
  #isClosed = false;

  constructor(host: string, port: number) {
    this.#host = host;
    this.#port = port;
  }

  async send(lines: readonly string[]): Promise<number> {
    if (this.#isClosed) throw new Error("closed");
    this.#socket ??= this.#open();
    try {
      const socket = await this.#socket;
      for (const [index, line] of lines.entries()) {
        const error = await new Promise<Error | null>((resolve) => socket.send(line, resolve));
        if (error === null) continue;
        if (index > 0) return index;
        throw error;
      }
      return lines.length;
    } catch (error) {
      this.#drop();
      throw error;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  async #open(): Promise<UdpSocket> {
    const socket = createSocket(isIP(this.#host) === 6 ? "udp6" : "udp4");
    socket.unref();
    try {
      socket.connect(this.#port, this.#host);
      await once(socket, "connect", { signal: AbortSignal.timeout(CONNECT_MS) });
    } catch (error) {
      socket.close();
      throw error;
    }
    // A refusal by the receiver's host comes back here or with the next send, whichever is first; the send tells of it.
    socket.on("error", () => this.#drop());
    return socket;
  }

  #drop(): void {
    this.#socket?.then(
      (socket) => socket.close(),
      () => undefined,
    );
    this.#socket = undefined;
  }
}

class StreamOutlet implements Outlet {
  readonly #target: { host: string; port: number } | { path: string };
  readonly #framing: Framing;
  #socket: Socket | undefined;
  #isSending = false;
  readonly #closing = new AbortController();

  constructor(target: { host: string; port: number } | { path: string }, framing: Framing) {
    this.#target = target;
    this.#framing = framing;
  }

  async send(lines: readonly string[]): Promise<number> {
    if (this.#closing.signal.aborted) throw new Error("closed");
    if (this.#socket === undefined || this.#socket.destroyed) this.#socket = await this.#connect();
    const socket = this.#socket;
    this.#isSending = true;
    try {
      await new Promise<void>((resolve, reject) => {
        socket.write(lines.map((line) => frame(line, this.#framing)).join(""), (error) => {
          if (error === undefined || error === null) resolve();
          else reject(error);
        });
      });
    } finally {
      this.#isSending = false;
    }
    return lines.length;
  }

  close(): void {
    this.#closing.abort();
    // What has been told as sent is with the kernel, and goes out before the end; a send under way is told as not sent.
    if (this.#isSending) this.#socket?.destroy();
    else this.#socket?.destroySoon();
  }

  async #connect(): Promise<Socket> {
    const socket = connect(this.#target);
    socket.unref();
    // A receiver says nothing; reading tells us at once when it goes away.
    socket.resume();
    const limit = startDeadline(CONNECT_MS, this.#closing.signal);
    try {
      await once(socket, "connect", { signal: limit.signal });
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      limit.clear();
    }
    socket.on("error", () => undefined);
    socket.on("end", () => socket.destroy());
    return socket;
  }
}

function frame(line: string, framing: Framing): string {
  if (framing === "octet-counting") return `${Buffer.byteLength(line)} ${line}`;
  return line + (framing === "nul" ? "\0" : "\n");
}
