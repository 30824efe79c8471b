/** The life of one connection, from accept to its last record; the only file that knows the order of the stages. */

import type { Socket } from "node:net";
import { decide } from "./access/decide.ts";
import type { Fact, Request, Verdict } from "./access/types.ts";
import type { Aclexecs } from "./act/aclexec.ts";
import { act, type Acted, type ActPorts } from "./act/act.ts";
import { reset, type RefusalKind } from "./act/refuse.ts";
import type { LiveTables } from "./config/live.ts";
import { handOver } from "./act/hand-over.ts";
import type { Lingers } from "./act/linger.ts";
import type { ForwardNames } from "./identify/forward-names.ts";
import type { Lookups } from "./identify/lookups.ts";
import type { Networks } from "./identify/networks.ts";
import {
  announcedRequest,
  proxyDefaults,
  readProxyHeader,
  sendsProxyHeader,
} from "./identify/proxy-protocol.ts";
import { describeTlvs } from "./identify/proxy-tlvs.ts";
import { requestOf } from "./identify/request.ts";
import type { Limits } from "./listen/limits.ts";
import type { Entry } from "./record/entry.ts";
import type { Journal } from "./record/journal.ts";
import type { Backends } from "./relay/backends.ts";
import { DialError } from "./relay/dial.ts";
import { buildProxyHeader } from "./relay/proxy-header.ts";
import { abortCause, type Relay } from "./relay/relay.ts";
import type { Session, Sessions } from "./sessions.ts";

/** One configured listener with its daemon name and backend. */
export interface Service {
  readonly name: string;
  /** What the tables match on. */
  readonly daemon: string;
  readonly target: Target;
  /** The target as records name it. */
  readonly targetText: string;
  readonly refusal: RefusalKind;
  /** Peers that announce their clients by a PROXY header; absent = a header is payload like any other. */
  readonly proxies?: { readonly networks: Networks; readonly timeoutMs: number };
  readonly connectTimeoutMs: number;
  /** 0 = no limit. */
  readonly idleMs: number;
  /** Everything between accept and verdict. */
  readonly decisionMs: number;
  readonly maxConnections: number;
}

/** Where allowed clients go: to a backend by a relay, or to a program that gets their socket. */
export type Target =
  | { readonly kind: "backend"; readonly backends: Backends; readonly sendProxy?: "v1" | "v2" }
  | { readonly kind: "exec"; readonly argv: readonly [string, ...string[]] };

/** What all connections share. */
export interface SharedPorts {
  readonly journal: Journal;
  readonly limits: Limits;
  readonly tables: Pick<LiveTables, "fresh" | "settled">;
  readonly lookups: Lookups;
  /** Names in the tables that lead to an address; absent = rules look at reverse names only. */
  readonly forwardNames?: Pick<ForwardNames, "namesOf"> | undefined;
  readonly aclexecs: Aclexecs;
  readonly act: Omit<ActPorts, "refusal" | "findFact" | "warn" | "signal">;
  readonly lingers: Lingers;
  readonly relay: Relay;
  readonly processId: number;
  readonly sessions: Sessions;
}

/** What one connection has of its own besides. */
interface Ports extends SharedPorts {
  readonly session: Session;
  /** Aborted, with the cause to record, when this connection has to end at once. */
  readonly stop: AbortSignal;
}

/**
 * Serves one client: identify, decide, act, relay, record.
 *
 * @param client accepted and paused; it is closed when the promise resolves, which is never rejected
 */
export async function serve(client: Socket, service: Service, shared: SharedPorts): Promise<void> {
  client.on("error", heard); // before the first await: an "error" that nobody hears ends the process
  const peer = requestOf(client, service.daemon);
  const entry = shared.journal.open({ service: service.name, ...(peer ?? nobody(service.daemon)) });
  const session = shared.sessions.enter(entry.id);
  const ports: Ports = { ...shared, session, stop: session.signal };
  const place = ports.limits.enter(service.name, service.maxConnections);
  try {
    if (peer === undefined) return entry.refused({ reason: "aborted" });
    if (place === undefined) return entry.refused({ reason: "limit" });
    const decision = await judge(client, { ...peer, processId: ports.processId }, service, ports, entry);
    record(decision, client, service, ports, entry);
    if (!(await ports.journal.audited(ports.stop))) throw new Error("an audit log has not taken the record");
    nameLater(decision, ports, entry);
    const acted = await act(decision.verdict, client, decision.request, portsOfAct(service, ports, entry));
    if (acted.kind === "refused") place.leave(); // a client that is held must not keep others out
    if (acted.kind !== "relay") return await finish(acted, ports, entry);
    if (acted.lingerSeconds !== undefined) ports.lingers.watch(client, acted.lingerSeconds);
    await join(client, decision.request, service, ports, entry);
  } catch (cause) {
    recordFailure(cause, entry);
  } finally {
    place?.leave();
    reset(client);
    entry.close();
    ports.sessions.leave(session);
  }
}

/** What the tables said, about what, and by which generation of them. */
interface Decision {
  readonly verdict: Verdict;
  /** With every fact that a rule asked for. */
  readonly request: Request;
  readonly generation: number;
}

/** Thrown when there is no verdict within the service's limit; the client is refused. */
class DecisionTimeout extends Error {
  override readonly name = "DecisionTimeout";
}

/** Thrown when a PROXY header is missing, wrong, or sent by somebody who may not; the message says which. */
class ProxyRefused extends Error {
  override readonly name = "ProxyRefused";
}

/** Asks the tables about the client, finds what they need, and asks again; every round adds a fact, so it ends. */
async function judge(
  client: Socket,
  peer: Request,
  service: Service,
  ports: Ports,
  entry: Entry,
): Promise<Decision> {
  let deadline: AbortSignal | undefined; // most decisions need none: a timer for each would cost more than they do
  const limit = (): AbortSignal =>
    (deadline ??= AbortSignal.any([ports.stop, AbortSignal.timeout(service.decisionMs)]));
  try {
    const announced =
      service.proxies === undefined
        ? peer
        : await findAnnounced(client, peer, service.proxies, limit(), entry);
    let request = withForwardNames(announced, ports);
    const { tables, number } = ports.tables.fresh() ?? (await ports.tables.settled(limit()));
    for (;;) {
      const step = decide(tables, request);
      if (step.kind !== "need") {
        if (step.kind !== "refuse") ports.session.judged = request;
        return { verdict: step, request, generation: number };
      }
      request = await find(step.fact, request, ports, limit(), entry);
      limit().throwIfAborted();
    }
  } catch (cause) {
    if (deadline?.aborted !== true) throw cause;
    throw new DecisionTimeout(`no verdict within ${service.decisionMs} ms`, { cause });
  }
}

/** Who the client is behind a peer that may send a PROXY header; from everybody else such a header is refused. */
async function findAnnounced(
  client: Socket,
  peer: Request,
  { networks, timeoutMs }: NonNullable<Service["proxies"]>,
  signal: AbortSignal,
  entry: Entry,
): Promise<Request> {
  if (!networks.has(peer.client.address)) {
    if (!(await sendsProxyHeader(client, { waitMs: strangerMs, signal }))) return peer;
    throw new ProxyRefused("a PROXY header from a peer that may not send one");
  }
  const arrival = await readProxyHeader(client, { ...proxyDefaults, timeoutMs, signal });
  signal.throwIfAborted();
  if (arrival.kind === "refused") throw new ProxyRefused(arrival.message);
  if (arrival.header.origin === "local") entry.markAsCheck(); // the proxy asks whether we are there, nobody comes in
  const tlvs = describeTlvs(arrival.header.tlvs);
  const proxy = tlvs.length === 0 ? peer.client : { ...peer.client, tlvs };
  return { ...announcedRequest(peer, arrival.header), proxy };
}

/** With the names in the tables that lead to the client's address by themselves (`names.forward`). */
function withForwardNames(request: Request, { forwardNames }: Ports): Request {
  const names = forwardNames?.namesOf(request.client.address) ?? [];
  return names.length === 0 ? request : { ...request, client: { ...request.client, forwardNames: names } };
}

/** How long a client that may not send a PROXY header is watched for one; its first bytes come with the handshake. */
const strangerMs = 100;

async function find(
  fact: Fact,
  request: Request,
  ports: Ports,
  signal: AbortSignal,
  entry: Entry,
): Promise<Request> {
  if (fact.kind !== "aclexec") return await ports.lookups.find(fact, request, signal);
  const outcome = await ports.aclexecs.run(fact.command, { signal, warn: warner(entry, ports) });
  return { ...request, commands: [...(request.commands ?? []), outcome] };
}

/** Writes the decision down before anything is done about it. */
function record(
  decision: Decision,
  client: Socket,
  service: Service,
  { session }: Ports,
  entry: Entry,
): void {
  const { verdict } = decision;
  switch (verdict.kind) {
    case "allow":
      return entry.accepted({
        ...decision,
        backend: service.targetText,
        // What each socket has read, by whatever relay.
        traffic: () => ({ upBytes: client.bytesRead, downBytes: session.backend?.bytesRead ?? 0 }),
      });
    case "refuse":
      return entry.refused(decision);
    case "twist":
      return entry.twisted({ ...decision, command: verdict.command.line });
  }
}

/** With `names.reverse: always` the record of the end has the name, though no rule has waited for it. */
function nameLater({ verdict, request }: Decision, { lookups }: Ports, entry: Entry): void {
  if (verdict.kind === "refuse") return; // its only record is written
  void lookups.ahead(request)?.then((named) => entry.learn(named));
}

function portsOfAct(service: Service, ports: Ports, entry: Entry): ActPorts {
  return {
    ...ports.act,
    refusal: service.refusal,
    findFact: (fact, request) => find(fact, request, ports, ports.stop, entry),
    warn: warner(entry, ports),
    signal: ports.stop,
  };
}

/** Joins an allowed client to its service, to the end of the session. */
async function join(
  client: Socket,
  request: Request,
  service: Service,
  ports: Ports,
  entry: Entry,
): Promise<void> {
  const { target, connectTimeoutMs, idleMs } = service;
  if (target.kind === "exec") {
    const handed = await handOver(target.argv, client, request, portsOfAct(service, ports, entry));
    if (handed.kind !== "refused")
      return await finish(handed.kind === "failed" ? handed : { ...handed, kind: "twisted" }, ports, entry);
    entry.ended({ upBytes: 0, downBytes: 0, cause: "internal", detail: handed.detail });
    return await handed.gone;
  }
  const backend = await reach(client, target.backends, connectTimeoutMs, ports);
  if (target.sendProxy !== undefined) backend.write(proxyHeader(target.sendProxy, request, entry.id));
  ports.session.backend = backend;
  const relayed = await ports.relay(client, backend, { idleMs, signal: ports.stop });
  const { detail } = ports.session;
  entry.ended({ ...relayed, ...(detail !== undefined && { detail }) });
}

/**
 * Dials, and gives up when the client is reset meanwhile. A paused socket hears nothing, so after a moment (most dials are
 * over by then) its bytes are taken in, up to Node's own bound; the relay begins with them.
 */
async function reach(
  client: Socket,
  backends: Backends,
  connectTimeoutMs: number,
  ports: Ports,
): Promise<Socket> {
  const giveUp = (): unknown => ports.sessions.cut(ports.session.id, "client_gone");
  const watch = setTimeout(() => client.on("readable", heard), patienceMs);
  client.once("close", giveUp);
  try {
    return (await backends.dial({ connectTimeoutMs, signal: ports.stop })).socket;
  } finally {
    clearTimeout(watch);
    client.off("readable", heard).off("close", giveUp);
  }
}

/** How long a dial may take before the client is watched. */
const patienceMs = 100;

/** Tells the backend who its client is: always the first thing that it hears, in one write. */
function proxyHeader(version: "v1" | "v2", { client, server }: Request, uniqueId: string): Buffer {
  if (client.port === undefined || server.port === undefined) return buildProxyHeader({ version, uniqueId }); // a unix socket
  const connection = {
    client: { address: client.address, port: client.port },
    server: { address: server.address, port: server.port },
  };
  return buildProxyHeader({ version, connection, uniqueId });
}

/** Ends the entry of a connection that goes to no backend. */
async function finish(
  acted: Exclude<Acted, { kind: "relay" }>,
  { session, stop }: Ports,
  entry: Entry,
): Promise<void> {
  switch (acted.kind) {
    case "refused":
      return await acted.gone;
    case "twisted": {
      const { status, signal } = acted.end;
      const detail = session.detail ?? (signal === null ? `exit status ${status}` : `ended by ${signal}`);
      const cause = stop.aborted ? abortCause(stop) : "handed_over";
      return entry.ended({ upBytes: null, downBytes: null, cause, detail });
    }
    case "failed":
      return entry.ended({ upBytes: 0, downBytes: 0, cause: "internal", detail: acted.detail });
  }
}

function recordFailure(cause: unknown, entry: Entry): void {
  if (cause instanceof DialError) {
    entry.ended({ upBytes: 0, downBytes: 0, cause: cause.endCause, detail: cause.message });
  } else if (cause instanceof ProxyRefused) {
    entry.refused({ reason: "error", detail: cause.message });
  } else if (cause instanceof DecisionTimeout) {
    entry.refused({ reason: "timeout", detail: cause.message });
  } else {
    entry.failed(cause);
  }
}

function warner({ id, service }: Entry, { journal }: Ports): (message: string) => void {
  return (message) => journal.warn({ service, id, code: "act", message });
}

/** The request of a client that was gone before anybody could see who it was. */
function nobody(daemon: string): Request {
  return { daemon, client: { address: "unknown" }, server: { address: "unknown" } };
}

function heard(): void {
  // What an error on the socket means is told where the socket is used: by the relay, or by a write that fails.
}
