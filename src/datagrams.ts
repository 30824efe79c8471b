/** The life of one client of a UDP service, from its first datagram to its last record: what connection.ts is for TCP. */

import type { Effect, Request, RuleReference } from "./access/types.ts";
import type { Spawns } from "./act/spawn.ts";
import { type Decision, DecisionTimeout, judge, type JudgePorts, warner } from "./judge.ts";
import type { Limits, Place } from "./listen/limits.ts";
import type { Programs } from "./platform/commands.ts";
import { startDeadline } from "./platform/deadline.ts";
import type { Entry } from "./record/entry.ts";
import { sourceOf } from "./record/flood.ts";
import type { Journal } from "./record/journal.ts";
import { DialError, findAddresses } from "./relay/dial.ts";
import { abortCause } from "./relay/relay.ts";
import type { UdpArrival } from "./relay/udp.ts";
import type { UdpService } from "./service.ts";
import type { Session, Sessions } from "./sessions.ts";

/** What all clients of UDP services share. */
export interface DatagramPorts extends JudgePorts {
  /** Its `warn` bounds what strangers can make it write. */
  readonly journal: Pick<Journal, "open" | "warn" | "audited" | "hasAudit">;
  readonly limits: Limits;
  /** Sessions of one source and service. */
  readonly sources: Limits;
  readonly spawns: Spawns;
  /** Starts the programs of a service, no faster than it may. */
  readonly programsOf: (service: string) => Programs;
  readonly processId: number;
  readonly sessions: Sessions;
}

/** One client with everything that its stages work with. */
interface Client {
  readonly arrival: UdpArrival;
  readonly service: UdpService;
  readonly ports: DatagramPorts;
  readonly entry: Entry;
  readonly session: Session;
}

/**
 * Serves one client: decide, act, relay, record. Who is refused hears nothing, as with tcpd.
 *
 * No ident: there is no connection that could be asked about, so the user is "unknown", as in libwrap.
 *
 * Never rejects.
 */
export async function serveDatagrams(
  arrival: UdpArrival,
  service: UdpService,
  ports: DatagramPorts,
): Promise<void> {
  const { name, daemon } = service;
  const { client: from, server: at } = arrival;
  const entry = ports.journal.open({ service: name, daemon, client: from, server: at, transport: "udp" });
  const session = ports.sessions.enter(entry.id, name);
  const client: Client = { arrival, service, ports, entry, session };
  const place = takePlace(client);
  try {
    if (place === undefined) return void entry.refused({ reason: "limit" });
    const { processId } = ports;
    const peer: Request = { daemon, client: from, server: at, user: "unknown", processId };
    const decision = withoutUser(await judge(client, peer));
    const isServed = record(client, decision);
    if (ports.journal.hasAudit) await waitForAudit(client);
    if (isServed) nameLater(client, decision);
    if (isServed) await join(client);
  } catch (cause) {
    recordFailure(cause, client);
  } finally {
    place?.leave();
    entry.close();
    ports.sessions.leave(session);
  }
}

/** Undefined where the service, or this source, has as many sessions as it may have. */
function takePlace({ service, ports, arrival }: Client): Place | undefined {
  const source = `${service.name} ${sourceOf(arrival.client.address)}`;
  const ofSource = ports.sources.enter(source, service.maxPerSource);
  if (ofSource === undefined) return undefined;
  const ofService = ports.limits.enter(service.name, service.maxConnections);
  if (ofService === undefined) ofSource.leave();
  return (
    ofService && {
      leave: () => {
        ofSource.leave();
        ofService.leave();
      },
    }
  );
}

/** Nobody has asked for the user, so records do not say that it is unknown. */
function withoutUser({ request: { user: _unknown, ...request }, ...decision }: Decision): Decision {
  return { ...decision, request };
}

/** Writes the decision down, and does what the rule asks for beside it; false where the client is refused. */
function record(client: Client, { verdict, request, generation }: Decision): boolean {
  const { arrival, service, entry } = client;
  switch (verdict.kind) {
    case "allow":
      entry.accepted({
        verdict,
        request,
        generation,
        backend: service.targetText,
        traffic: () => arrival.traffic(),
      });
      carryOut(client, verdict.effects, verdict.rule);
      return true;
    case "refuse":
      // Addresses can be forged: nobody may start as many programs as he sends datagrams.
      if (entry.refused({ verdict, request, generation })) carryOut(client, verdict.effects, verdict.rule);
      return false;
    case "twist": {
      // libwrap gives the command the socket, on which the datagrams of all clients arrive.
      const detail = "twist on a UDP service: there is no connection that the command could serve";
      entry.refused({ verdict, request, generation, reason: "error", detail });
      return false;
    }
  }
}

/**
 * `keepalive` and `linger` have no meaning without a connection, and libwrap's banner goes nowhere: its write(2) on the unconnected
 * socket fails in silence. We say so.
 */
function carryOut({ entry, ports, service }: Client, effects: readonly Effect[], rule?: RuleReference): void {
  const warn = warner(entry, ports);
  const programs = ports.programsOf(service.name);
  let spawned: Promise<void> | undefined;
  for (const effect of effects) {
    if (effect.kind === "spawn")
      spawned = ports.spawns.start(effect.command, { programs, warn, before: spawned });
    if (effect.kind === "banners")
      warn(`banners: not sent on a UDP service (${rule === undefined ? "" : `${rule.file}:${rule.line}`})`);
  }
}

/** Nothing is done about a decision before every audit log has its record; the service's limit holds here too. */
async function waitForAudit({ service, ports, session }: Client): Promise<void> {
  const deadline = startDeadline(service.decisionMs, session.cut.signal);
  try {
    if (!(await ports.journal.audited(deadline.signal)))
      throw new Error("an audit log has not taken the record");
  } finally {
    deadline.clear();
  }
}

/** With `names.reverse: always` the record of the end has the name, though no rule has waited for it. */
function nameLater({ ports, entry }: Client, { request }: { readonly request: Request }): void {
  const named = ports.lookups.ahead(request);
  if (named !== undefined) void Promise.resolve(named).then((found) => entry.learn(found));
}

/** Joins an allowed client to its service, to the end of the session. */
async function join({ arrival, service, ports, entry, session }: Client): Promise<void> {
  const { backend, resolve, connectTimeoutMs, idleMs, maxAgeMs } = service;
  const finding = { resolve, connectTimeoutMs, signal: session.cut };
  const [address] = await findAddresses(backend.host, finding);
  const joined = { backend: { address, port: backend.port }, idleMs, signal: session.cut.signal };
  if (maxAgeMs > 0) ports.sessions.limitAge(session, maxAgeMs - entry.ageMs);
  const end = await arrival.join(joined);
  entry.ended({ ...end, detail: session.detail ?? end.detail });
}

function recordFailure(cause: unknown, { entry, session }: Client): void {
  if (cause instanceof DialError) {
    entry.ended({ upBytes: 0, downBytes: 0, cause: cause.endCause, detail: cause.message });
  } else if (cause instanceof DecisionTimeout) {
    entry.refused({ reason: "timeout", detail: cause.message });
  } else if (session.cut.aborted) {
    entry.ended({ upBytes: 0, downBytes: 0, cause: abortCause(session.cut), detail: session.detail });
  } else {
    entry.failed(cause);
  }
}
