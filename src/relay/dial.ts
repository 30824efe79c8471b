/** Opens the connection to a backend. */

import { lookup } from "node:dns/promises";
import { isIP, Socket, type SocketConstructorOpts } from "node:net";
import { getSystemErrorName } from "node:util";

import type { BareAccess } from "../platform/node-handle.ts";
import { Wire } from "../platform/wire.ts";
import type { Stop } from "./abort.ts";
import { waitFor } from "./patience.ts";
import type { EndCause } from "./relay.ts";
import { TransparentError } from "./transparent.ts";

/** Where a backend listens. `host` is an address or a name; a path beginning with NUL is an abstract socket. */
export type BackendAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** The ends a session can have before it is joined. */
export type DialFailure = Extract<
  EndCause,
  | "backend_refused"
  | "backend_unreachable"
  | "connect_timeout"
  | "client_gone"
  | "drain"
  | "kicked"
  | "internal"
>;

export interface DialOptions {
  /** Time for everything together: the name and every address of it. */
  readonly connectTimeoutMs: number;
  /** Aborting cancels the dial; the reason is the cause to report: `abort("client_gone")`. */
  readonly signal?: Stop | undefined;
  /** The client that waits, paused: if the dial takes long and it goes away meanwhile, the dial ends as client_gone. */
  readonly client?: Wire | undefined;
  /** Connects without a Socket where that will do; absent = always with one. */
  readonly bare?: BareAccess | undefined;
  /** After so long without a byte the kernel asks whether the backend is still there; absent = it does not ask. */
  readonly keepAliveMs?: number | undefined;
  /** Written first, in one write, as soon as the backend is connected: a PROXY header. */
  readonly header?: Uint8Array | undefined;
  /**
   * Makes the socket for a numeric address, in place of a plain one: `source: client`. What it throws is this address's
   * failure; there is no fall-back.
   */
  readonly open?: ((address: string) => Socket | Promise<Socket>) | undefined;
  /** Finds the addresses of a name in the order in which they are tried; default: the system's resolver. */
  readonly resolve?: ((host: string, signal: AbortSignal) => Promise<readonly string[]>) | undefined;
}

/** Thrown by `dial`: no address of the backend could be reached, or nobody waits for it any more. */
export class DialError extends Error {
  override readonly name = "DialError";
  readonly endCause: DialFailure;
  /** Every address that was tried, with what was wrong with it: "127.0.0.1:2222 ECONNREFUSED". */
  readonly tried: readonly string[];

  constructor(endCause: DialFailure, tried: readonly string[], cause: unknown) {
    const why = cause instanceof TransparentError ? ` (${cause.message})` : "";
    super(`${endCause}: ${tried.length > 0 ? tried.join(", ") : "nothing tried"}${why}`, { cause });
    this.endCause = endCause;
    this.tried = tried;
  }

  /** False where nothing was learnt about the backend: there was no socket to reach it with. */
  get isAboutBackend(): boolean {
    return this.endCause !== "internal" && !(this.cause instanceof TransparentError);
  }
}

/**
 * Connects to a backend: half-open allowed, no delay, paused, with an `error` listener so that nothing that happens to
 * it before the relay starts can end the process.
 *
 * A name with several addresses: each is tried in turn, with an even share of the time that is left.
 *
 * @throws DialError
 */
export async function dial(backend: BackendAddress, options: DialOptions): Promise<Wire> {
  const { signal, client } = options;
  if (signal?.aborted) throw new DialError(failure({ code: "ECANCELED" }, signal), [], signal.reason);
  if (client?.destroyed) throw new DialError("client_gone", [], client.socket().errored);
  const deadlineMs = performance.now() + options.connectTimeoutMs;
  const finding = findTargets(backend, options);
  const wasAsked = finding instanceof Promise;
  const found = wasAsked ? await finding : finding;
  const tried = [...found.tried];
  let failed = found.failed;
  for (const [index, target] of found.targets.entries()) {
    const isFresh = index === 0 && !wasAsked; // most are: they need not look at the clock again
    const leftMs = isFresh ? options.connectTimeoutMs : deadlineMs - performance.now();
    const outcome = await attempt(target, leftMs / (found.targets.length - index), options);
    if (outcome instanceof Wire) {
      if (options.keepAliveMs !== undefined) outcome.socket().setKeepAlive(true, options.keepAliveMs);
      if (options.header) outcome.socket().write(options.header);
      return outcome;
    }
    failed = outcome;
    tried.push(`${describe(target)} ${outcome.code}`);
    if (isGivenUp(outcome.code)) break;
  }
  throw new DialError(failure(failed, signal), tried, failed.error);
}

/**
 * The addresses of a backend's host in the order in which they are to be tried; a numeric one is its own.
 *
 * @param options the limit, and what else ends the search
 * @throws DialError where there is none
 */
export async function findAddresses(
  host: string,
  options: Pick<DialOptions, "connectTimeoutMs" | "signal" | "resolve">,
): Promise<readonly [string, ...string[]]> {
  if (isIP(host) !== 0) return [host];
  const found = await resolveInTime(host, options);
  const failed = "code" in found ? found : noAddress;
  const [first, ...more] = "code" in found ? [] : found;
  if (first !== undefined) return [first, ...more];
  throw new DialError(failure(failed, options.signal), [`${host} ${failed.code}`], failed.error);
}

type Target = { readonly host: string; readonly port: number } | { readonly path: string };

interface Failed {
  readonly code: string;
  readonly error?: unknown;
}

interface Targets {
  readonly targets: readonly Target[];
  readonly tried: readonly string[];
  readonly failed: Failed;
}

/** Known at once where nothing has to be resolved. */
function findTargets(backend: BackendAddress, options: DialOptions): Targets | Promise<Targets> {
  if (backend.kind === "unix") return known({ path: backend.path });
  const { host, port } = backend;
  return isIP(host) === 0 ? resolveTargets(host, port, options) : known({ host, port });
}

const noAddress: Failed = { code: "ENOTFOUND" };

function known(target: Target): Targets {
  return { targets: [target], tried: [], failed: noAddress };
}

async function resolveTargets(host: string, port: number, options: DialOptions): Promise<Targets> {
  const found = await resolveInTime(host, options);
  if ("code" in found) return { targets: [], tried: [`${host} ${found.code}`], failed: found };
  const targets = found.map((address) => ({ host: address, port }));
  return { targets, tried: [], failed: noAddress };
}

/** Stops waiting when patience ends, whatever the resolver goes on to do. */
async function resolveInTime(
  host: string,
  options: Pick<DialOptions, "connectTimeoutMs" | "signal" | "client" | "resolve">,
): Promise<readonly string[] | Failed> {
  const stop = new AbortController();
  const resolve = options.resolve ?? resolveBySystem;
  return await new Promise((settle) => {
    const stopWaiting = waitFor(options.connectTimeoutMs, options, (code) => {
      stop.abort();
      stopWaiting();
      settle({ code });
    });
    const finish = (found: readonly string[] | Failed): void => {
      stopWaiting();
      settle(found);
    };
    resolve(host, stop.signal).then(finish, (error: NodeJS.ErrnoException) =>
      finish({ code: error.code ?? "EAI_FAIL", error }),
    );
  });
}

async function resolveBySystem(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function attempt(target: Target, limitMs: number, options: DialOptions): Promise<Wire | Failed> {
  const { bare, open } = options;
  if (bare === undefined || open !== undefined || !("host" in target))
    return attemptBySocket(target, limitMs, options);
  return connectInTime(limitMs, options, (ended) => connectBare(target, bare, ended));
}

async function attemptBySocket(
  target: Target,
  limitMs: number,
  options: DialOptions,
): Promise<Wire | Failed> {
  let socket: Socket;
  try {
    const opened = openFor(target, options);
    // Most sockets are our own: those must not wait for a promise.
    socket = (opened instanceof Socket ? opened : await inTime(opened, limitMs, options)).pause();
  } catch (error) {
    return failed(error as NodeJS.ErrnoException);
  }
  return await connectInTime(limitMs, options, (ended) => connectSocket(socket, target, ended));
}

/** Called once, not at once: without an error the connection is there. */
type Ended = (error?: NodeJS.ErrnoException) => void;

function connectInTime(
  limitMs: number,
  options: DialOptions,
  connect: (ended: Ended) => Wire,
): Promise<Wire | Failed> {
  return new Promise((settle) => {
    let begun: Wire | undefined;
    const finish = (outcome: Wire | Failed): void => {
      stopWaiting();
      settle(outcome);
    };
    const stopWaiting = waitFor(limitMs, options, (code) => {
      begun?.destroy();
      finish({ code });
    });
    try {
      begun = connect((error) => finish(error === undefined && begun !== undefined ? begun : failed(error)));
    } catch (error) {
      finish(failed(error as NodeJS.ErrnoException));
    }
  });
}

function failed(error: NodeJS.ErrnoException | undefined): Failed {
  return { code: error?.code ?? "EUNKNOWN", error };
}

function connectBare(
  { host, port }: Extract<Target, { host: string }>,
  bare: BareAccess,
  ended: Ended,
): Wire {
  const wire = Wire.connect(bare, host, port, (status) => {
    if (status === 0) return ended();
    if (typeof wire !== "number") wire.destroy();
    ended(connectError(status));
  });
  if (typeof wire === "number") throw connectError(wire);
  return wire;
}

function connectError(status: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(status);
  return Object.assign(new Error(`connect ${code}`), { code, errno: status, syscall: "connect" });
}

function connectSocket(socket: Socket, target: Target, ended: Ended): Wire {
  socket.once("connect", () => {
    // A session may last for weeks: nothing of the dial stays behind.
    socket.off("error", ended);
    ended();
  });
  socket.on("error", ended);
  socket.connect(target);
  return Wire.of(socket);
}

/** Paused before it is connected: nothing is read from it until a relay does. */
function openFor(target: Target, { open }: DialOptions): Socket | Promise<Socket> {
  if (open && "host" in target) return open(target.host);
  if (open) throw new TransparentError("EAFNOSUPPORT", "a unix socket has no source address");
  return new Socket({ allowHalfOpen: true, noDelay: true } as SocketConstructorOpts);
}

/** A socket that another process makes. One that comes too late is closed. */
async function inTime(opening: Promise<Socket>, limitMs: number, options: DialOptions): Promise<Socket> {
  return await new Promise((resolve, reject) => {
    const stopWaiting = waitFor(limitMs, options, (code) => {
      stopWaiting();
      opening.then(
        (late) => late.destroy(),
        () => undefined,
      );
      reject(Object.assign(new Error("no socket in time"), { code }));
    });
    opening.finally(stopWaiting).then(resolve, reject);
  });
}

/** Nobody waits any more: no further address is tried. */
function isGivenUp(code: string): boolean {
  return code === "ECANCELED" || code === "ECLIENTGONE";
}

function failure({ code, error }: Failed, signal: Stop | undefined): DialFailure {
  if (signal?.aborted) {
    return signal.reason === "drain" || signal.reason === "kicked" ? signal.reason : "client_gone";
  }
  // Our own lack, but where the client can never be the source: that address is out of its reach.
  if (error instanceof TransparentError && code !== "EAFNOSUPPORT") return "internal";
  switch (code) {
    case "ECONNREFUSED":
    case "ECONNRESET":
    case "EAGAIN": // a unix socket whose queue is full
      return "backend_refused";
    case "ECLIENTGONE":
      return "client_gone";
    case "ETIMEDOUT":
    case "ETIMEOUT": // the same from DNS
      return "connect_timeout";
    case "EMFILE":
    case "ENFILE":
    case "ENOBUFS":
    case "EADDRNOTAVAIL": // no local port left towards this address
      return "internal";
    default:
      return "backend_unreachable";
  }
}

function describe(target: Target): string {
  if ("path" in target) return `unix:${target.path.replace("\0", "@")}`;
  return `${isIP(target.host) === 6 ? `[${target.host}]` : target.host}:${target.port}`;
}
