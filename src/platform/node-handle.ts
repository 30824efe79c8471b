/**
 * What Node keeps private of a socket, typed: the only file that touches it.
 *
 * `net.connect` takes `onread`, a buffer of one's own that is read into again and again; an accepted socket has no such
 * option, though the same fields and the same handle are there. And a write through the stream costs more than the
 * system call behind it. Checked on Node 20, 24 and 26; `findHandleAccess` says when it is no longer so.
 */

import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** libuv's stream under a socket; negative results are error numbers. */
export interface Handle {
  reading: boolean;
  /** Bytes that libuv holds because the kernel has not taken them yet. */
  readonly writeQueueSize: number;
  readStart(): number;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
  /** Only TCP has it; ENOTCONN once the connection is no more. */
  getpeername?(into: object): number;
  /** Node 20 to 24 take a request and return an error number; later ones take null and return a request if it has to wait. */
  writeBuffer(request: WriteRequest | null, bytes: Uint8Array): number | WriteRequest;
}

/** A handle of TCP as Node makes it, without a Socket around it. */
export interface BareHandle extends Handle {
  /** Called when a read has ended: `BareAccess.readResult` says how. It may return another buffer to read into. */
  onread: () => Uint8Array | undefined;
  readonly bytesRead: number;
  /** Those that wait in libuv included. */
  readonly bytesWritten: number;
  getpeername(into: SocketName): number;
  getsockname(into: SocketName): number;
  setNoDelay(isOn: boolean): number;
  /** Seconds; the last two are not asked for by every Node, and are libuv's own. */
  setKeepAlive(isOn: boolean, afterSeconds: number, everySeconds: number, times: number): number;
  connect(request: HandleRequest, address: string, port: number): number;
  connect6(request: HandleRequest, address: string, port: number): number;
  shutdown(request: HandleRequest): number;
  /** Refused by libuv while a shutdown is under way, and Node then forgets the descriptor without closing it. */
  reset(): number;
  close(): void;
}

/** One end of a connection; empty where the kernel does not say. */
export interface SocketName {
  address?: string;
  port?: number;
}

/** Something that a handle was asked for and that ends later, with 0 or an error number. */
export interface HandleRequest {
  oncomplete: (status: number) => void;
}

/** What connections without a Socket are made of. */
export interface BareAccess {
  readonly open: () => BareHandle;
  readonly isTcp: (handle: unknown) => boolean;
  readonly ConnectRequest: new () => HandleRequest;
  readonly ShutdownRequest: new () => HandleRequest;
  /** Inside `onread`: bytes read, or a negative error number. */
  readonly readResult: () => number;
}

/** A write that has to wait. */
interface WriteRequest {
  oncomplete: (status: number) => void;
  /** Keeps the bytes from being collected while libuv reads them. */
  buffer: Uint8Array;
  /** Negative while no write is tied to the request. */
  getAsyncId(): number;
  /** Where the request is returned: an end that came before anybody could listen. */
  readonly writeStatus?: number | null;
}

/** Who waits for the end of an unfinished write. */
export interface Waiter {
  /** Called once, later, with 0 or an error number. */
  written(status: number): void;
}

/**
 * Writes what the kernel takes at once; libuv keeps the rest.
 *
 * @param waiter told of the end if the write is unfinished; until then the bytes are not ours
 * @returns 0: finished; 1: unfinished; negative: an error number
 */
export type Write = (handle: Handle, bytes: Uint8Array, waiter: Waiter) => number;

/** Takes `bytesRead` bytes at the start of the buffer in use; false stops reading. */
export type OnRead = (bytesRead: number) => boolean;

/** The way to the private parts, as found on this Node. */
export interface HandleAccess {
  readonly write: Write;
  readonly bufferKey: symbol;
  readonly callbackKey: symbol;
  readonly generatorKey: symbol;
  /** Connections without a Socket; absent where this Node does not let us. */
  readonly bare?: BareAccess;
}

/**
 * Looks for everything that is needed, on a connection to ourselves.
 *
 * @throws Error saying what this Node does not have
 */
export async function findHandleAccess(): Promise<HandleAccess> {
  const server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  const sockets: Socket[] = [];
  try {
    await once(server, "listening");
    const accepting = once(server, "connection") as Promise<[Socket]>;
    sockets.push(connect((server.address() as AddressInfo).port, "127.0.0.1"));
    sockets.push(...(await accepting));
    const accepted = sockets[1];
    const handle = accepted && handleOf(accepted);
    if (accepted === undefined || handle === undefined) throw new Error("a socket has no handle");
    for (const method of ["readStart", "readStop", "useUserBuffer", "writeBuffer"] as const) {
      if (typeof handle[method] !== "function") throw new Error(`a handle has no ${method}`);
    }
    if (typeof handle.writeQueueSize !== "number") throw new Error("a handle has no writeQueueSize");
    const [bufferKey, callbackKey, generatorKey] = ["kBuffer", "kBufferCb", "kBufferGen"].map((name) =>
      findSymbol(accepted, name),
    ) as [symbol, symbol, symbol];
    const bare = findBareAccess(handle);
    return {
      write: findWrite(accepted, handle),
      bufferKey,
      callbackKey,
      generatorKey,
      ...(bare !== undefined && { bare }),
    };
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

/**
 * Hands over the connections of a listening server as bare handles, without delay. One that is not of TCP goes on as before.
 *
 * What all connections have from their listener spares a system call for each: TCP_NODELAY (tcp(7), of Linux), and their
 * local end, where the listener is bound to one address.
 *
 * @param take `local` is undefined where the connection has to be asked
 */
export function acceptBare(
  server: Server,
  access: BareAccess,
  take: (handle: BareHandle, local: SocketName | undefined) => void,
): void {
  const listening = (server as unknown as { _handle?: Partial<ListeningHandle> | null })._handle;
  const usual = listening?.onconnection;
  if (!access.isTcp(listening) || typeof usual !== "function") return;
  (listening as ListeningHandle).setNoDelay(true);
  const local = boundTo(listening as ListeningHandle);
  (listening as ListeningHandle).onconnection = function (status, handle) {
    if (status === 0 && handle !== undefined) take(handle, local);
    else usual.call(this, status, handle); // an accept that failed
  };
}

/** The one address that a listener has; undefined for that of all addresses. */
function boundTo(listening: ListeningHandle): SocketName | undefined {
  const name: SocketName = {};
  const isKnown = listening.getsockname(name) === 0 && name.address !== undefined;
  return isKnown && name.address !== "0.0.0.0" && name.address !== "::" ? name : undefined;
}

interface ListeningHandle {
  getsockname(into: SocketName): number;
  setNoDelay(isOn: boolean): number;
  onconnection: (this: ListeningHandle, status: number, handle?: BareHandle) => void;
}

/** The handle of an open socket. */
export function handleOf(socket: Socket): Handle | undefined {
  return (socket as unknown as { _handle?: Handle | null })._handle ?? undefined;
}

/**
 * Whether an end of the stream was a reset, on a connection that we have not ended ourselves; false where that cannot be told.
 *
 * When data and a reset come in one turn of the loop, libuv reports the data and then an ordinary end (it takes the POLLHUP
 * behind a short read for one). But a connection that its peer has only half-closed still has a peer.
 */
export function wasReset(handle: Handle | undefined): boolean {
  return handle?.getpeername?.({}) === notConnected;
}

const notConnected = -107;

/** Makes a paused socket read into buffers of ours; `next` gives the one to use from now on. */
export function readInto(
  access: HandleAccess,
  socket: Socket,
  handle: Handle,
  onRead: OnRead,
  next: () => Uint8Array,
): void {
  const fields = socket as unknown as Record<symbol, unknown>;
  const buffer = next();
  fields[access.bufferKey] = buffer;
  fields[access.callbackKey] = onRead;
  fields[access.generatorKey] = next;
  handle.useUserBuffer(buffer);
}

/** Changes the buffer between two reads. Each time leaves some 50 bytes with the handle until it is closed. */
export function replaceBuffer(
  access: HandleAccess,
  socket: Socket,
  handle: Handle,
  buffer: Uint8Array,
): void {
  (socket as unknown as Record<symbol, unknown>)[access.bufferKey] = buffer;
  handle.useUserBuffer(buffer);
}

/** Node keeps these classes in its bindings, which older programs may reach still. Source: `process.binding`, DEP0111. */
function findBareAccess(sample: Handle): BareAccess | undefined {
  try {
    const { binding } = process as unknown as { binding: (name: string) => unknown };
    const { TCP, TCPConnectWrap, constants } = binding("tcp_wrap") as {
      readonly TCP: new (type: number) => BareHandle;
      readonly TCPConnectWrap: new () => HandleRequest;
      readonly constants: { readonly SOCKET: number };
    };
    const { ShutdownWrap, streamBaseState, kReadBytesOrError } = binding("stream_wrap") as {
      readonly ShutdownWrap: new () => HandleRequest;
      readonly streamBaseState: Int32Array;
      readonly kReadBytesOrError: number;
    };
    const methods = [
      "getpeername",
      "getsockname",
      "setNoDelay",
      "setKeepAlive",
      "connect",
      "connect6",
      "reset",
      "close",
    ];
    const isComplete =
      sample instanceof TCP &&
      methods.every(
        (method) => typeof (sample as unknown as Record<string, unknown>)[method] === "function",
      ) &&
      typeof streamBaseState[kReadBytesOrError] === "number" &&
      [TCPConnectWrap, ShutdownWrap].every((request) => typeof request === "function");
    if (!isComplete) return undefined;
    return {
      open: () => new TCP(constants.SOCKET),
      isTcp: (handle) => handle instanceof TCP,
      ConnectRequest: TCPConnectWrap,
      ShutdownRequest: ShutdownWrap,
      readResult: () => streamBaseState[kReadBytesOrError] ?? endOfFile,
    };
  } catch {
    return undefined; // no bindings: removed, or forbidden by Node's permission model
  }
}

/** UV_EOF. Source: uv.h. */
export const endOfFile = -4095;

function findSymbol(socket: Socket, name: string): symbol {
  const found = Object.getOwnPropertySymbols(socket).find(({ description }) => description === name);
  if (found === undefined) throw new Error(`a socket has no ${name}`);
  return found;
}

/** The class of a write request is reachable only through a request that Node has made. */
function findWrite(socket: Socket, handle: Handle): Write {
  let seen: { readonly request: WriteRequest | null } | undefined;
  handle.writeBuffer = (request, bytes) => {
    seen = { request };
    delete (handle as Partial<Handle>).writeBuffer;
    return handle.writeBuffer(request, bytes);
  };
  socket.write(Buffer.from("x"));
  if (seen === undefined) throw new Error("a write does not reach its handle");
  const { request } = seen;
  return request === null ? writeWithReturnedRequest : writeWithGivenRequest(request);
}

/**
 * One request serves all writes that do not have to wait: Node ties it to a write only if that one has to. An empty
 * queue does not say so: libuv tries again before it waits, and reports even that success later.
 */
function writeWithGivenRequest(sample: WriteRequest): Write {
  const Request = sample.constructor as new () => WriteRequest;
  let spare = new Request();
  if (spare.getAsyncId() >= 0) throw new Error("a new write request does not say that it is unused");
  return (handle, bytes, waiter) => {
    const request = spare;
    const status = handle.writeBuffer(request, bytes) as number;
    if (request.getAsyncId() < 0) return status;
    spare = new Request();
    if (status !== 0) return status;
    request.oncomplete = (ended) => waiter.written(ended);
    request.buffer = bytes;
    return 1;
  };
}

const ioError = -5;

const writeWithReturnedRequest: Write = (handle, bytes, waiter) => {
  const result = handle.writeBuffer(null, bytes);
  if (typeof result === "number") return result;
  // A request that is no longer tied to a write will not call back.
  if (result.getAsyncId() < 0) return result.writeStatus ?? ioError;
  result.oncomplete = (ended) => waiter.written(ended);
  result.buffer = bytes;
  return 1;
};
