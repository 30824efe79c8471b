/** The two sides of a fast relay: over a bare handle, or over a Socket where somebody has asked for one. */

import type { Socket } from "node:net";
import { getSystemErrorName } from "node:util";

import {
  endOfFile,
  handleOf,
  readInto,
  replaceBuffer,
  wasReset,
  type BareHandle,
  type Handle,
  type HandleAccess,
  type OnRead,
} from "../platform/node-handle.ts";
import { reset } from "../platform/reset.ts";
import type { Wire } from "../platform/wire.ts";

/** Who hears of what no flow asks for. */
export interface EndEvents {
  /** An error on the connection. */
  readonly failed: (error: NodeJS.ErrnoException | { readonly code: string }) => void;
  /** It is closed, by us or by itself. Called once. */
  readonly closed: () => void;
}

/** One side of a relay. */
export interface End {
  readonly handle: Handle;
  hear(events: EndEvents): void;
  /**
   * Reads into buffers from now on; the reading itself is started and stopped at the handle.
   *
   * @param next gives the buffer for the next read
   * @param ended the other side has ended its direction
   */
  read(read: OnRead, next: () => Uint8Array, ended: () => void): void;
  /** What somebody has read before us and put back. */
  takeEarly(): Uint8Array | undefined;
  /** Changes the buffer between two reads. */
  replaceBuffer(buffer: Uint8Array): void;
  /** Whether an end was a reset; see `wasReset`. */
  wasReset(): boolean;
  /** Ends our direction, when everything is written. */
  end(): void;
  destroy(): void;
  reset(): void;
}

/** Undefined where the connection is closed already. */
export function endOf(access: HandleAccess, wire: Wire): End | undefined {
  if (wire.handle !== undefined && access.bare !== undefined)
    return new BareEnd(wire, wire.handle, access.bare.readResult);
  const handle = handleOf(wire.socket());
  return handle && new SocketEnd(access, wire.socket(), handle);
}

class BareEnd implements End {
  readonly handle: BareHandle;
  readonly #wire: Wire;
  readonly #readResult: () => number;
  #events: EndEvents | undefined;
  #buffer: Uint8Array | undefined;

  constructor(wire: Wire, handle: BareHandle, readResult: () => number) {
    this.#wire = wire;
    this.handle = handle;
    this.#readResult = readResult;
    handle.setNoDelay(true);
  }

  hear(events: EndEvents): void {
    this.#events = events;
    this.#wire.onClosed = events.closed;
  }

  read(read: OnRead, next: () => Uint8Array, ended: () => void): void {
    const { handle } = this;
    const readResult = this.#readResult;
    handle.onread = () => {
      const result = readResult();
      if (result > 0) {
        if (!read(result)) {
          handle.reading = false;
          handle.readStop();
        }
        const buffer = next();
        if (buffer === this.#buffer) return undefined;
        return (this.#buffer = buffer);
      }
      if (result === endOfFile) ended();
      else if (result < 0) this.#events?.failed({ code: getSystemErrorName(result) });
      return undefined;
    };
    this.replaceBuffer(next());
  }

  takeEarly(): undefined {
    return undefined;
  }

  replaceBuffer(buffer: Uint8Array): void {
    this.#buffer = buffer;
    this.handle.useUserBuffer(buffer);
  }

  wasReset(): boolean {
    return wasReset(this.handle);
  }

  end(): void {
    this.#wire.end();
  }

  destroy(): void {
    this.#wire.destroy();
  }

  reset(): void {
    this.#wire.reset();
  }
}

class SocketEnd implements End {
  readonly handle: Handle;
  readonly #access: HandleAccess;
  readonly #socket: Socket;

  constructor(access: HandleAccess, socket: Socket, handle: Handle) {
    this.#access = access;
    this.#socket = socket;
    this.handle = handle;
  }

  hear({ failed, closed }: EndEvents): void {
    this.#socket.on("error", failed).once("close", closed);
  }

  read(read: OnRead, next: () => Uint8Array, ended: () => void): void {
    this.#socket.once("end", ended);
    if (this.#socket.readableEnded) ended();
    else readInto(this.#access, this.#socket, this.handle, read, next);
  }

  /** Asks the handle for more by the way. */
  takeEarly(): Uint8Array | undefined {
    return (this.#socket.read() as Buffer | null) ?? undefined;
  }

  replaceBuffer(buffer: Uint8Array): void {
    replaceBuffer(this.#access, this.#socket, this.handle, buffer);
  }

  wasReset(): boolean {
    // Where the socket is closed nobody can tell.
    return wasReset(handleOf(this.#socket));
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  reset(): void {
    reset(this.#socket);
  }
}
