/** One connection: a bare handle of libuv as long as that will do, Node's Socket as soon as somebody asks for one. */

import { isIPv4, Socket, type SocketConstructorOpts } from "node:net";

import { type BareAccess, type BareHandle, handleOf, type SocketName, wasReset } from "./node-handle.ts";
import { reset } from "./reset.ts";

/**
 * A Socket costs more than the system calls of a short connection: streams, events and timers that a refusal or a relay of
 * handles never uses. So a connection begins without one, paused; whoever needs a stream calls `socket()`.
 *
 * A bare wire says nothing by itself: `onClosed` is called when we close it, errors come to whoever reads or writes.
 */
export class Wire {
  readonly #access: BareAccess | undefined;
  #handle: BareHandle | undefined;
  #socket: Socket | undefined;
  #local: SocketName | undefined;
  #remote: SocketName | undefined;
  #bytesRead = 0;
  #shutdown: "none" | "under way" | "then reset" = "none";
  /** Called once when a bare wire is closed. */
  onClosed: (() => void) | undefined;

  private constructor(access: BareAccess | undefined, handle: BareHandle | undefined, socket?: Socket) {
    this.#access = access;
    this.#handle = handle;
    this.#socket = socket?.on("error", heard);
  }

  /**
   * A connection of TCP that nobody reads, as `acceptBare` gives it.
   *
   * @param local its local end, where that is known
   */
  static bare(access: BareAccess, handle: BareHandle, local?: SocketName): Wire {
    const wire = new Wire(access, handle);
    wire.#local = local;
    return wire;
  }

  static of(socket: Socket): Wire {
    return new Wire(undefined, undefined, socket);
  }

  /**
   * Begins to connect.
   *
   * @param address numeric
   * @param connected called once, later, with 0 or a negative error number; also where we close the wire before
   * @returns the error number where it does not even begin
   */
  static connect(
    access: BareAccess,
    address: string,
    port: number,
    connected: (status: number) => void,
  ): Wire | number {
    const handle = access.open();
    const request = new access.ConnectRequest();
    request.oncomplete = connected;
    const status = isIPv4(address)
      ? handle.connect(request, address, port)
      : handle.connect6(request, address, port);
    if (status === 0) {
      handle.setNoDelay(true);
      return new Wire(access, handle);
    }
    handle.close();
    return status;
  }

  /** The handle while there is no Socket; undefined also when the wire is closed. */
  get handle(): BareHandle | undefined {
    return this.#handle;
  }

  /** The Socket, paused, half-open allowed, no delay, and with somebody who hears its errors. The wire is not bare any more. */
  socket(): Socket {
    if (this.#socket === undefined) {
      const handle = this.#handle;
      this.#handle = undefined;
      this.#socket = handle === undefined ? new Socket().destroy() : socketOver(handle);
      this.#socket.on("error", heard);
    }
    return this.#socket;
  }

  get destroyed(): boolean {
    return this.#socket === undefined ? this.#handle === undefined : this.#socket.destroyed;
  }

  /** Whether the peer has reset the connection; one that has only ended its direction has not. It costs a system call. */
  get isReset(): boolean {
    return this.destroyed || wasReset(this.#socket === undefined ? this.#handle : handleOf(this.#socket));
  }

  get bytesRead(): number {
    return this.#socket?.bytesRead ?? this.#handle?.bytesRead ?? this.#bytesRead;
  }

  get localAddress(): string | undefined {
    return this.#socket === undefined ? this.#localName().address : this.#socket.localAddress;
  }

  get localPort(): number | undefined {
    return this.#socket === undefined ? this.#localName().port : this.#socket.localPort;
  }

  get remoteAddress(): string | undefined {
    return this.#socket === undefined ? this.#remoteName().address : this.#socket.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#socket === undefined ? this.#remoteName().port : this.#socket.remotePort;
  }

  /** Has the kernel ask whether the other side is still there, when nothing has come for so long; ten times, a second apart. */
  keepAlive(afterMs: number): void {
    if (this.#handle === undefined) this.#socket?.setKeepAlive(true, afterMs);
    else this.#handle.setKeepAlive(true, Math.floor(afterMs / 1000), 1, 10);
  }

  /** Ends our direction. Only when nothing that was written waits. */
  end(): void {
    const handle = this.#handle;
    if (handle === undefined || this.#access === undefined) return void this.#socket?.end();
    const request = new this.#access.ShutdownRequest();
    request.oncomplete = () => {
      const isReset = this.#shutdown === "then reset";
      this.#shutdown = "none";
      if (isReset) this.reset();
    };
    if (handle.shutdown(request) === 0) this.#shutdown = "under way";
  }

  /** Closes the connection: an end, or a reset where unread bytes are left. */
  destroy(): void {
    if (this.#handle === undefined) return void this.#socket?.destroy();
    this.#forget(this.#handle).close();
    this.onClosed?.();
  }

  /** The peer sees a reset, whatever was sent or is unread. */
  reset(): void {
    if (this.#handle === undefined) return this.#socket && reset(this.#socket);
    if (this.#shutdown === "none") {
      this.#forget(this.#handle).reset();
      this.onClosed?.();
    } else {
      this.#shutdown = "then reset"; // which takes a turn of the loop
    }
  }

  #forget(handle: BareHandle): BareHandle {
    this.#bytesRead = handle.bytesRead;
    this.#handle = undefined;
    return handle;
  }

  #localName(): SocketName {
    if (this.#local === undefined) this.#handle?.getsockname((this.#local = {}));
    return this.#local ?? nameless;
  }

  #remoteName(): SocketName {
    if (this.#remote === undefined) this.#handle?.getpeername((this.#remote = {}));
    return this.#remote ?? nameless;
  }
}

const nameless: SocketName = {};

/** As a listening server of Node makes it of an accepted handle. */
function socketOver(handle: BareHandle): Socket {
  const options: SocketConstructorOpts & { readonly handle: BareHandle; readonly pauseOnCreate: boolean } = {
    handle,
    allowHalfOpen: true,
    pauseOnCreate: true,
    readable: true,
    writable: true,
  };
  return new Socket(options).setNoDelay(true);
}

function heard(): void {
  // What an error on the socket means is told where the socket is used: by the relay, or by a write that fails.
}
