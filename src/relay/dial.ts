/** Opens the connection to a backend. */

import { lookup } from "node:dns/promises";
import { connect, isIP, type NetConnectOpts, type Socket } from "node:net";

import type { EndCause } from "./relay.ts";

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
  readonly signal?: AbortSignal;
  /** Finds the addresses of a name in the order in which they are tried; default: the system's resolver. */
  readonly resolve?: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
}

/** Thrown by `dial`: no address of the backend could be reached, or nobody waits for it any more. */
export class DialError extends Error {
  override readonly name = "DialError";
  readonly endCause: DialFailure;
  /** Every address that was tried, with what was wrong with it: "127.0.0.1:2222 ECONNREFUSED". */
  readonly tried: readonly string[];

  constructor(endCause: DialFailure, tried: readonly string[], cause: unknown) {
    super(`${endCause}: ${tried.length > 0 ? tried.join(", ") : "nothing tried"}`, { cause });
    this.endCause = endCause;
    this.tried = tried;
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
export async function dial(backend: BackendAddress, options: DialOptions): Promise<Socket> {
  const tried: string[] = [];
  const limit = new AbortController();
  const onAbort = (): void => limit.abort("cancelled");
  options.signal?.addEventListener("abort", onAbort);
  if (options.signal?.aborted) onAbort();
  const deadlineMs = performance.now() + options.connectTimeoutMs;
  const timer = setTimeout(() => limit.abort("timeout"), options.connectTimeoutMs);
  try {
    const targets = await findTargets(backend, options, limit.signal);
    let failed: Failed = { code: "ENOTFOUND", error: undefined };
    for (const [index, target] of targets.entries()) {
      if (limit.signal.aborted) break;
      const shareMs = (deadlineMs - performance.now()) / (targets.length - index);
      const outcome = await tryConnect(target, shareMs, limit.signal);
      if ("socket" in outcome) return outcome.socket;
      failed = outcome;
      tried.push(`${describe(target)} ${outcome.code}`);
    }
    throw new DialError(failure(failed.code, limit.signal, options.signal), tried, failed.error);
  } catch (cause) {
    if (cause instanceof DialError) throw cause;
    const { code = "EAI_FAIL" } = cause as NodeJS.ErrnoException;
    tried.push(`${backend.kind === "tcp" ? backend.host : backend.path} ${code}`);
    throw new DialError(failure(code, limit.signal, options.signal), tried, cause);
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", onAbort);
  }
}

type Target = { readonly host: string; readonly port: number } | { readonly path: string };

interface Failed {
  readonly code: string;
  readonly error: unknown;
}

async function findTargets(
  backend: BackendAddress,
  options: DialOptions,
  signal: AbortSignal,
): Promise<readonly Target[]> {
  if (backend.kind === "unix") return [{ path: backend.path }];
  const { host, port } = backend;
  if (isIP(host) !== 0) return [{ host, port }];
  const addresses = await orAborted((options.resolve ?? resolveBySystem)(host, signal), signal);
  return addresses.map((address) => ({ host: address, port }));
}

async function resolveBySystem(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/** getaddrinfo cannot be cancelled; whoever waits for it can stop waiting. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void =>
      reject(Object.assign(new Error("name not resolved in time"), { code: "ETIMEOUT" }));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

async function tryConnect(
  target: Target,
  limitMs: number,
  signal: AbortSignal,
): Promise<{ readonly socket: Socket } | Failed> {
  return new Promise((settle) => {
    // Set apart: `noDelay` is an option of TCP sockets only in the types, and harmless on a unix socket.
    const socketOptions: NetConnectOpts & { noDelay: boolean } = {
      ...target,
      allowHalfOpen: true,
      noDelay: true,
    };
    const socket = connect(socketOptions);
    socket.pause();
    const finish = (outcome: { readonly socket: Socket } | Failed): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      settle(outcome);
    };
    const giveUp = (code: string): void => {
      socket.destroy();
      finish({ code, error: undefined });
    };
    const onAbort = (): void => giveUp("ECANCELED");
    const timer = setTimeout(() => giveUp("ETIMEDOUT"), Math.max(1, limitMs));
    signal.addEventListener("abort", onAbort);
    socket.once("connect", () => finish({ socket }));
    socket.on("error", (error: NodeJS.ErrnoException) => finish({ code: error.code ?? "EUNKNOWN", error }));
  });
}

function failure(code: string, limit: AbortSignal, caller: AbortSignal | undefined): DialFailure {
  if (caller?.aborted) {
    return caller.reason === "drain" || caller.reason === "kicked" ? caller.reason : "client_gone";
  }
  if (limit.aborted) return "connect_timeout";
  switch (code) {
    case "ECONNREFUSED":
    case "ECONNRESET":
    case "EAGAIN": // a unix socket whose queue is full
      return "backend_refused";
    case "ETIMEDOUT":
    case "ETIMEOUT": // the same from DNS
      return "connect_timeout";
    case "EMFILE":
    case "ENFILE":
    case "ENOBUFS":
      return "internal";
    default:
      return "backend_unreachable";
  }
}

function describe(target: Target): string {
  if ("path" in target) return `unix:${target.path.replace("\0", "@")}`;
  return `${isIP(target.host) === 6 ? `[${target.host}]` : target.host}:${target.port}`;
}
