/** The control socket: HTTP with JSON for `tcpwrapd status` and its like, and for curl(1). */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type OwnedSocketOptions, placeSocket } from "../platform/owned-socket.ts";
import type { ControlApi, SessionsApi } from "./api.ts";

export interface ControlOptions<Api> extends OwnedSocketOptions {
  readonly api: Api;
  readonly routes: readonly Route<Api>[];
  /** Told of requests that failed by a fault of ours. */
  readonly onTrouble: (message: string) => void;
}

/** A control socket that answers. */
export interface ControlServer {
  close(): void;
}

/** Bounds of what one peer can make us hold; the socket's mode says who may be one. */
const bounds = {
  connections: 32,
  headerBytes: 8 * 1024,
  bodyBytes: 16 * 1024,
  requestMs: 10_000,
  /** Without a byte either way; longer than any answer takes. */
  silentMs: 60_000,
} as const;

/** To whoever speaks no HTTP, too much of it, or too slowly. */
const unreadable = '{"error":"no request that can be read"}\n';

/** The longest window of an unconfirmed reload. */
const maxConfirmMs = 24 * 60 * 60 * 1000;

/** Thrown by a route; becomes the answer. */
class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

type Handle<Api> = (api: Api, id: string, body: Readonly<Record<string, unknown>>) => Promise<unknown>;

/** `:id` is one word of a path. */
export type Route<Api> = readonly [method: string, path: string, handle: Handle<Api>];

const listSessions: Route<SessionsApi> = [
  "GET",
  "/v1/sessions",
  async (api) => ({ sessions: await api.sessions() }),
];
const kickSession: Route<SessionsApi> = ["DELETE", "/v1/sessions/:id", (api, id) => kick(api, id)];

/** Of a worker that has outlived its daemon. */
export const sessionRoutes = [listSessions, kickSession];

/** Of the daemon. */
export const routes: readonly Route<ControlApi>[] = [
  ["GET", "/v1/status", (api) => api.status()],
  listSessions,
  ["GET", "/v1/tables", (api) => api.tables()],
  ["POST", "/v1/reload", (api, _id, body) => reload(api, body)],
  ["POST", "/v1/confirm", (api) => confirm(api)],
  ["POST", "/v1/drain", async (api) => ({ sessions: await api.drain() })],
  kickSession,
];

/**
 * Opens the socket.
 *
 * @throws when it cannot be made, or when another daemon answers on it
 */
export async function openControl<Api>(options: ControlOptions<Api>): Promise<ControlServer> {
  const { api, routes: open, onTrouble, ...place } = options;
  const server = createServer(
    {
      maxHeaderSize: bounds.headerBytes,
      requestTimeout: bounds.requestMs,
      headersTimeout: bounds.requestMs,
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: 1000,
    },
    (request, response) => void answer(request, response, () => route(request, api, open), onTrouble),
  );
  server.maxConnections = bounds.connections;
  // One who does not read its answer must not keep its place either.
  server.timeout = bounds.silentMs;
  server.on("clientError", (_error, socket) => {
    if (!socket.writable) return void socket.destroy();
    const head = `HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: ${unreadable.length}`;
    // Destroyed then: whoever does not close by itself would keep its place for ever.
    socket.end(`${head}\r\nConnection: close\r\n\r\n${unreadable}`, () => socket.destroy());
  });
  const placed = await placeSocket(server, place);
  return { close: () => close(server, placed) };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  find: () => Promise<unknown>,
  onTrouble: (message: string) => void,
): Promise<void> {
  try {
    const value = await find();
    send(response, 200, value);
  } catch (cause) {
    if (cause instanceof HttpError)
      return send(response, cause.status, { error: cause.message }, cause.headers);
    const reason = cause instanceof Error ? cause.message : String(cause);
    onTrouble(`control socket: ${request.method ?? ""} ${request.url ?? ""}: ${reason}`);
    send(response, 500, { error: reason });
  }
}

async function route<Api>(request: IncomingMessage, api: Api, open: readonly Route<Api>[]): Promise<unknown> {
  const path = (request.url ?? "").split("?", 1)[0] ?? "";
  const found = open.filter(([, pattern]) => idIn(path, pattern) !== undefined);
  if (found.length === 0) throw new HttpError(404, `no such path: "${path.slice(0, 100)}"`);
  const chosen = found.find(([method]) => method === request.method);
  if (chosen === undefined) {
    const methods = found.map(([method]) => method);
    // RFC 9110 section 15.5.6 wants the header.
    throw new HttpError(405, `use ${methods.join(" or ")}`, { allow: methods.join(", ") });
  }
  const [, pattern, handle] = chosen;
  return await handle(api, idIn(path, pattern) ?? "", await readBody(request));
}

/** The `:id` of a path; "" for a pattern without one; undefined where the path is another one. */
function idIn(path: string, pattern: string): string | undefined {
  if (!pattern.endsWith("/:id")) return path === pattern ? "" : undefined;
  const before = pattern.slice(0, -":id".length);
  const id = path.startsWith(before) ? path.slice(before.length) : "";
  return /^[A-Za-z0-9]{1,64}$/.test(id) ? id : undefined;
}

async function readBody(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bounds.bodyBytes) throw new HttpError(413, `a body may have ${bounds.bodyBytes} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString();
  if (text.trim() === "") return {};
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new HttpError(400, "the body is no JSON");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new HttpError(400, "the body is no JSON object");
  return body as Readonly<Record<string, unknown>>;
}

async function reload(api: ControlApi, body: Readonly<Record<string, unknown>>): Promise<unknown> {
  const { confirmMs, ...rest } = body;
  const [unknownKey] = Object.keys(rest);
  if (unknownKey !== undefined) throw new HttpError(400, `unknown key "${unknownKey.slice(0, 100)}"`);
  const isWrong =
    confirmMs !== undefined && !(typeof confirmMs === "number" && confirmMs > 0 && confirmMs <= maxConfirmMs);
  if (isWrong) throw new HttpError(400, `"confirmMs" is a number of milliseconds up to ${maxConfirmMs}`);
  const outcome = await api.reload(confirmMs);
  if (!outcome.reloaded) throw new HttpError(409, outcome.reason);
  return outcome;
}

async function confirm(api: ControlApi): Promise<unknown> {
  if (!(await api.confirm())) throw new HttpError(409, "nothing waits for a confirmation");
  return { confirmed: true };
}

async function kick(api: SessionsApi, id: string): Promise<unknown> {
  if (!(await api.kick(id))) throw new HttpError(404, `no session has the id "${id}"`);
  return { kicked: id };
}

function send(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.destroyed || response.headersSent) return;
  const text = `${JSON.stringify(value)}\n`;
  // After an error the rest of the request is not read, so the connection cannot be used again.
  const connection = status >= 400 ? { connection: "close" } : {};
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
    ...connection,
    ...headers,
  });
  response.end(text);
}

function close(server: Server, placed: { readonly remove: () => void }): void {
  placed.remove();
  server.close();
  server.closeIdleConnections();
  // An answer that is on its way has a second.
  setTimeout(() => server.closeAllConnections(), 1000).unref();
}
