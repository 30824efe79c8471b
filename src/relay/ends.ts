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
} from "../platform/node-handle.ts";
import { reset } from "../platform/reset.ts";
import type { Wire } from "../platform/wire.ts";

/** Who hears of what no flow asks for. */
export interface EndOwner {
  /** An error on the connection. */
  broken(end: End, error: NodeJS.ErrnoException | { readonly code: string }): void;
  /** It is closed, by us or by itself. Called once. */
  closed(): void;
}

/** Who takes what an end reads. */
export interface Reader {
  /** Where the next read goes. */
  readonly buffer: Uint8Array;
  /** Takes `bytesRead` bytes at the start of the buffer; false stops reading. */
  read(bytesRead: number): boolean;
  /** The other side has ended its direction. */
  end(): void;
}

/** One side of a relay. */
export interface End {
  readonly handle: Handle;
  hear(owner: EndOwner): void;
  /** Reads into the reader's buffers from now on; the reading itself is started and stopped at the handle. */
  read(reader: Reader): void;
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
  #owner: EndOwner | undefined;
  #buffer: Uint8Array | undefined;

  constructor(wire: Wire, handle: BareHandle, readResult: () => number) {
    this.#wire = wire;
    this.handle = handle;
    this.#readResult = readResult;
  }

  hear(owner: EndOwner): void {
    this.#owner = owner;
    this.#wire.onClosed = () => owner.closed();
  }

  read(reader: Reader): void {
    const { handle } = this;
    const readResult = this.#readResult;
    handle.onread = () => {
      const result = readResult();
      if (result > 0) {
        if (!reader.read(result)) {
          handle.reading = false;
          handle.readStop();
        }
        const { buffer } = reader;
        if (buffer === this.#buffer) return undefined;
        return (this.#buffer = buffer);
      }
      if (result === endOfFile) reader.end();
      else if (result < 0) this.#owner?.broken(this, { code: getSystemErrorName(result) });
      return undefined;
    };
    this.replaceBuffer(reader.buffer);
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

  hear(owner: EndOwner): void {
    this.#socket.on("error", (error) => owner.broken(this, error)).once("close", () => owner.closed());
  }

  read(reader: Reader): void {
    this.#socket.once("end", () => reader.end());
    if (this.#socket.readableEnded) reader.end();
    else
      readInto(
        this.#access,
        this.#socket,
        this.handle,
        (bytesRead) => reader.read(bytesRead),
        () => reader.buffer,
      );
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
