/** Takes an allowed client to its service, to the end of the session: to a backend by the relay, or to a program that gets its socket. */

import type { Request } from "./access/types.ts";
import type { Acted } from "./act/act.ts";
import { handOver } from "./act/hand-over.ts";
import type { ProgramEnd } from "./platform/commands.ts";
import { type Connection, portsOfAct } from "./ports.ts";
import type { HealthTurn } from "./relay/backends.ts";
import type { Joined } from "./relay/keep-alive.ts";
import { buildProxyHeader } from "./relay/proxy-header.ts";
import { abortCause, type Relayed } from "./relay/relay.ts";

/** Joins an allowed client to its service, to the end of the session. */
export async function join(connection: Connection, request: Request): Promise<void> {
  const { client, service, ports, entry, session } = connection;
  const { target, connectTimeoutMs, idleMs, halfClosedMs, keepAliveMs } = service;
  if (target.kind === "exec") return await serveByProgram(connection, target.argv, request);
  const { openFrom } = target;
  const dialled = await target.backends.dial({
    connectTimeoutMs,
    signal: session.cut,
    client,
    bare: ports.bare,
    open: openFrom && ((to) => openFrom(request.client.address, to)),
    header: target.sendProxy && proxyHeader(target.sendProxy, request, entry.id),
    health: target.health,
    maxPerBackend: target.maxPerBackend,
    onTurn: (turn) => heedTurn(connection, target.cutsFallen, turn),
  });
  const backend = dialled.wire;
  session.backend = backend;
  session.backendAddress = dialled.backend;
  limitAge(connection);
  const joined: Joined = { client, backend, keepAliveMs };
  if (keepAliveMs > 0) ports.keepAlives.watch(joined);
  const joinedAtMs = performance.now();
  let relayed: Relayed;
  try {
    relayed = await ports.relay(client, backend, { idleMs, halfClosedMs, signal: session.cut });
  } catch (cause) {
    // A fault of ours; the backend must not keep the place of a session that is no more.
    backend.reset();
    target.backends.ended(dialled.backend, { upBytes: 0, downBytes: 0, cause: "internal" }, byUs);
    throw cause;
  } finally {
    ports.keepAlives.forget(joined);
  }
  const { upBytes, downBytes, cause } = relayed;
  const doubt = target.backends.ended(dialled.backend, relayed, {
    afterMs: performance.now() - joinedAtMs,
    hadHeader: target.sendProxy !== undefined,
  });
  if (doubt !== undefined) ports.journal.warn({ service: service.name, id: entry.id, ...doubt });
  entry.ended({ upBytes, downBytes, cause, detail: session.detail ?? relayed.detail });
}

/** How a session ends that says nothing about its backend. */
const byUs = { afterMs: 0, hadHeader: false };

/** Not before the client is where it wants to be: a dial has limits of its own. */
function limitAge({ service, ports, entry, session }: Connection): void {
  if (service.maxAgeMs > 0) ports.sessions.limitAge(session, service.maxAgeMs - entry.ageMs);
}

/** Tells of a backend that has fallen or risen, and cuts the sessions of a fallen one where the service wants that. */
function heedTurn(
  { service, ports, entry }: Connection,
  cutsFallen: boolean,
  { backend, isUp, message }: HealthTurn,
): void {
  const code = isUp ? "backend-risen" : "backend-fallen";
  ports.journal.diagnose(isUp ? "info" : "warn", { service: service.name, id: entry.id, code, message });
  if (!isUp && cutsFallen) ports.sessions.cutFrom(service.name, backend, "backend_fallen");
}

/** Hands the client's socket to the service's program, inetd style, and waits for its end. */
async function serveByProgram(
  connection: Connection,
  argv: readonly [string, ...string[]],
  request: Request,
): Promise<void> {
  const { client, entry } = connection;
  limitAge(connection);
  const handed = await handOver(argv, client.socket(), request, portsOfAct(connection));
  switch (handed.kind) {
    case "served":
      return await finish(connection, { kind: "twisted", end: handed.end });
    case "failed":
      return await finish(connection, handed);
    case "refused":
      entry.ended({ upBytes: 0, downBytes: 0, cause: "internal", detail: handed.detail });
      return await handed.gone;
  }
}

/** Tells the backend who its client is; it is always the first thing that the backend hears. */
function proxyHeader(version: "v1" | "v2", { client, server }: Request, uniqueId: string): Buffer {
  if (client.port === undefined || server.port === undefined) return buildProxyHeader({ version, uniqueId }); // a unix socket
  const connection = {
    client: { address: client.address, port: client.port },
    server: { address: server.address, port: server.port },
  };
  return buildProxyHeader({ version, connection, uniqueId });
}

/** Ends the entry of a connection that goes to no backend. */
export async function finish(
  { entry, session }: Connection,
  acted: Exclude<Acted, { kind: "relay" }>,
): Promise<void> {
  switch (acted.kind) {
    case "refused":
      return await acted.gone;
    case "twisted": {
      const detail = session.detail ?? describeEnd(acted.end);
      const cause = session.cut.aborted ? abortCause(session.cut) : "handed_over";
      return entry.ended({ upBytes: null, downBytes: null, cause, detail });
    }
    case "failed":
      return entry.ended({ upBytes: 0, downBytes: 0, cause: "internal", detail: acted.detail });
  }
}

function describeEnd({ status, signal }: ProgramEnd): string {
  if (signal !== null) return `ended by ${signal}`;
  return status === null ? "it goes on, and nobody is left to tell its end" : `exit status ${status}`;
}
