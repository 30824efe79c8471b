/** Takes a PROXY header from an accepted connection, and leaves every byte behind it to the relay. */

import type { Socket } from "node:net";
import type { Request } from "../access/types.ts";
import { beginsProxyHeader, parseProxyHeader } from "./proxy-header.ts";
import type { ProxyHeader, ProxyLimits, ProxyRefusal } from "./proxy-types.ts";
import { refusal } from "./proxy-types.ts";

/** A header, and what came behind it. */
export interface ProxyArrival {
  readonly kind: "header";
  readonly header: ProxyHeader;
  /**
   * Payload that came with the header. It is back in the socket's own read buffer, as its first bytes: whoever reads the
   * socket gets it, and whoever reads the descriptor must empty that buffer first (`socket.read()`). It is here to be looked
   * at, not to be sent once more.
   */
  readonly rest: Uint8Array;
}

/** Bounds of reading one header. */
export interface ProxyReadOptions extends ProxyLimits {
  /** Milliseconds from the call until the last byte of the header; peers that never finish hold a descriptor. */
  readonly timeoutMs: number;
  /** Ends the waiting as "timeout". */
  readonly signal?: AbortSignal;
}

/** How long a listed peer may take, and how much it may say, where the configuration does not tell. */
export const proxyDefaults = { timeoutMs: 3000, maxBytes: 4096 } as const;

/**
 * Reads the header that must be there. In pieces or in one, with payload behind it or without.
 *
 * @param socket accepted with `pauseOnConnect`, nobody else reading; it must have an "error" listener of its own
 * @returns the header, or why there is none to believe: then the connection is to be reset
 *
 * Never rejects; neither ends nor resumes the socket.
 */
export async function readProxyHeader(
  socket: Socket,
  options: ProxyReadOptions,
): Promise<ProxyArrival | ProxyRefusal> {
  const taken = await takeUntil(socket, options, (bytes) => {
    const parsed = parseProxyHeader(bytes, options);
    if (parsed.kind === "more") return undefined;
    return { found: parsed, payloadAt: parsed.kind === "header" ? parsed.length : bytes.length };
  });
  switch (taken.end) {
    case "found":
      if (taken.found.kind === "refused") return taken.found;
      return { kind: "header", header: taken.found.header, rest: taken.payload };
    case "timeout":
      return refusal("timeout", "no complete PROXY header within the time limit");
    case "closed":
      return refusal("closed", "the connection ended before a complete PROXY header");
    default:
      return taken satisfies never;
  }
}

/**
 * Looks whether a peer that may not send a header sends one all the same.
 *
 * @param waitMs how long to wait for its first bytes; a client that waits for the server's greeting is not kept longer
 * @returns true where a header begins: then the connection is to be reset, never believed
 *
 * Every byte stays for the relay. What comes later is payload like any other. Never rejects.
 */
export async function sendsProxyHeader(
  socket: Socket,
  options: { readonly waitMs: number; readonly signal?: AbortSignal },
): Promise<boolean> {
  const limits = { timeoutMs: options.waitMs, ...(options.signal && { signal: options.signal }) };
  const taken = await takeUntil(socket, limits, (bytes) => {
    const begins = beginsProxyHeader(bytes);
    return begins === "maybe" ? undefined : { found: begins, payloadAt: 0 };
  });
  return taken.end === "found" && taken.found === "yes";
}

/** The request of the announced client; that of the socket where the header leaves it to the socket. */
export function announcedRequest(request: Request, header: ProxyHeader): Request {
  const { origin, client, server } = header;
  if (origin === "unix") return { ...request, client: unixClient, server: unixClient };
  if (origin !== "announced" || client === undefined || server === undefined) return request;
  return { ...request, client, server };
}

/** As libwrap calls a client on a unix socket; whatever path the header names is the proxy's, not the client's. */
const unixClient = { address: "localhost", name: "unknown" } as const;

type Taken<Found> =
  | { readonly end: "found"; readonly found: Found; readonly payload: Uint8Array }
  | { readonly end: "timeout" | "closed" };

/**
 * Reads until the bytes so far decide, or there will be no more of them. Payload goes back into the socket's read buffer, and
 * so do all the bytes where nothing was found.
 */
function takeUntil<Found extends object | string>(
  socket: Socket,
  limits: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  decide: (bytes: Uint8Array) => { readonly found: Found; readonly payloadAt: number } | undefined,
): Promise<Taken<Found>> {
  return new Promise((resolve) => {
    let bytes: Uint8Array = new Uint8Array(0);
    const end = (taken: Taken<Found>): void => {
      clearTimeout(timer);
      limits.signal?.removeEventListener("abort", late);
      socket.off("readable", read).off("end", closed).off("close", closed);
      // In the same turn as the read that gave them: where the client has finished, the stream ends in the next one, and
      // nothing can be put back into it then.
      putBack(socket, taken.end === "found" ? taken.payload : bytes);
      resolve(taken);
    };
    const read = (): void => {
      // One call takes all that is buffered, in one piece.
      const chunk: Buffer | null = socket.read();
      // Nothing to read, and yet readable: the client has finished.
      if (chunk === null) return bytes.length > 0 ? closed() : undefined;
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const decision = decide(bytes);
      if (decision === undefined) return;
      end({ end: "found", found: decision.found, payload: bytes.subarray(decision.payloadAt) });
    };
    const late = (): void => end({ end: "timeout" });
    const closed = (): void => end({ end: "closed" });
    const timer = setTimeout(late, limits.timeoutMs);
    limits.signal?.addEventListener("abort", late, { once: true });
    socket.on("readable", read).on("end", closed).on("close", closed);
    if (limits.signal?.aborted === true) late();
    else if (socket.destroyed || socket.readableEnded) closed();
  });
}

function putBack(socket: Socket, bytes: Uint8Array): void {
  if (bytes.length > 0 && !socket.destroyed && !socket.readableEnded) socket.unshift(bytes);
}
