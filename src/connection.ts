/** The life of one connection, from accept to its last record; the only file that knows the order of the stages. */

import type { Request } from "./access/types.ts";
import { act, type Acted } from "./act/act.ts";
import {
  announcedRequest,
  proxyDefaults,
  readProxyHeader,
  sendsProxyHeader,
} from "./identify/proxy-protocol.ts";
import { describeTlvs, uniqueIdOf } from "./identify/proxy-tlvs.ts";
import { requestOf } from "./identify/request.ts";
import { finish, join } from "./join.ts";
import { type Decision, DecisionTimeout, type FindClient, judge } from "./judge.ts";
import { startDeadline } from "./platform/deadline.ts";
import type { Wire } from "./platform/wire.ts";
import { type Connection, portsOfAct, type SharedPorts } from "./ports.ts";
import { DialError } from "./relay/dial.ts";
import { abortCause } from "./relay/relay.ts";
import type { Service } from "./service.ts";

/**
 * Serves one client: identify, decide, act, relay, record.
 *
 * @param client accepted and paused; it is closed when the promise resolves, which is never rejected
 */
export async function serve(client: Wire, service: Service, ports: SharedPorts): Promise<void> {
  const peer = requestOf(client, service.daemon);
  const { daemon, client: from, server: at } = peer ?? nobody(service.daemon);
  const entry = ports.journal.open({ service: service.name, daemon, client: from, server: at });
  const session = ports.sessions.enter(entry.id, service.name);
  const place = ports.limits.enter(service.name, service.maxConnections);
  const connection: Connection = { client, service, ports, entry, session };
  try {
    if (peer === undefined) return void entry.refused({ reason: "aborted" });
    if (place === undefined) return void entry.refused({ reason: "limit" });
    const asked = { daemon, client: from, server: at, processId: ports.processId };
    const judging = judge(connection, asked, clientFinder(connection));
    const decision = judging instanceof Promise ? await judging : judging; // most need nobody's answer
    record(connection, named(connection, decision));
    if (ports.journal.hasAudit) await waitForAudit(connection);
    if (decision.verdict.kind === "refuse" && service.refuseAfterMs > 0) {
      place.leave(); // a client that waits must not keep others out
      await ports.act.refusals.wait(entry.ageMs, service.refuseAfterMs, session.cut.signal);
    }
    const acting = carryOut(connection, decision);
    const acted = acting instanceof Promise ? await acting : acting;
    if (acted === plainReset) return; // it is gone
    if (acted.kind === "refused") place.leave(); // a client that is held must not keep others out
    if (acted.kind !== "relay") return await finish(connection, acted);
    // Who is gone meanwhile must not become a bare connect, which mysqld counts against our address.
    const hasWaited = judging instanceof Promise || acting instanceof Promise || ports.journal.hasAudit;
    if (hasWaited && client.isReset) return entry.ended({ upBytes: 0, downBytes: 0, cause: "client_gone" });
    if (acted.lingerSeconds !== undefined) ports.lingers.watch(client.socket(), acted.lingerSeconds);
    await join(connection, decision.request);
  } catch (cause) {
    recordFailure(cause, connection);
  } finally {
    place?.leave();
    client.reset();
    entry.close();
    ports.sessions.leave(session);
  }
}

/** Thrown when a PROXY header is missing, wrong, or sent by somebody who may not; the message says which. */
class ProxyRefused extends Error {
  override readonly name = "ProxyRefused";
  readonly reason: "error" | "timeout";

  constructor(message: string, reason: "error" | "timeout" = "error") {
    super(message);
    this.reason = reason;
  }
}

/** Undefined where nobody may announce clients. */
function clientFinder(connection: Connection): FindClient | undefined {
  if (connection.service.proxies === undefined) return undefined;
  return (peer, signal) => findAnnounced(connection, peer, signal);
}

/** Who the client is behind a peer that may send a PROXY header; from everybody else such a header is refused. */
async function findAnnounced(
  { client, service, ports, entry, session }: Connection,
  peer: Request,
  signal: AbortSignal,
): Promise<Request> {
  const { proxies } = service;
  if (proxies?.networks.has(peer.client.address) !== true) {
    if (!(await sendsProxyHeader(client.socket(), { waitMs: strangerMs, signal }))) return peer;
    throw new ProxyRefused("a PROXY header from a peer that may not send one");
  }
  const arrival = await readProxyHeader(client.socket(), {
    ...proxyDefaults,
    timeoutMs: proxies.timeoutMs,
    signal,
  });
  signal.throwIfAborted();
  if (arrival.kind === "refused")
    throw new ProxyRefused(arrival.message, arrival.fault === "timeout" ? "timeout" : "error");
  if (arrival.header.origin === "local") entry.markAsCheck(); // the proxy asks whether we are there, nobody comes in
  session.cameThrough = ports.sessions.way(uniqueIdOf(arrival.header.tlvs) ?? "");
  if (session.cameThrough.includes(service.name))
    throw new ProxyRefused(`loop: the connection comes from us, by ${session.cameThrough.join(", ")}`);
  const tlvs = describeTlvs(arrival.header.tlvs);
  const proxy = tlvs.length === 0 ? peer.client : { ...peer.client, tlvs };
  return { ...announcedRequest(peer, arrival.header), proxy };
}

/** How long a client that may not send a PROXY header is watched for one; its first bytes come with the handshake. */
const strangerMs = 100;

/** Writes the decision down before anything is done about it. */
function record({ client, service, entry, session }: Connection, decision: Decision): void {
  const { verdict, request, generation } = decision;
  switch (verdict.kind) {
    case "allow":
      // What each socket has read, by whatever relay.
      const traffic = () => ({ upBytes: client.bytesRead, downBytes: session.backend?.bytesRead ?? 0 });
      return entry.accepted({ verdict, request, generation, backend: service.targetText, traffic });
    case "refuse":
      return void entry.refused(decision);
    case "twist":
      return entry.twisted({ verdict, request, generation, command: verdict.command.line });
  }
}

/** Nothing is done about a decision before every audit log has its record; the service's limit holds here too. */
async function waitForAudit({ service, ports, session }: Connection): Promise<void> {
  const deadline = startDeadline(service.decisionMs, session.cut.signal);
  try {
    if (!(await ports.journal.audited(deadline.signal)))
      throw new Error("an audit log has not taken the record");
  } finally {
    deadline.clear();
  }
}

/**
 * With `names.reverse: always` the records have the name, though no rule has asked for it: those of the decision where it is
 * known at once, that of the end as soon as it is found. What is done about the decision must not see it.
 */
function named({ ports, entry }: Connection, decision: Decision): Decision {
  const found = ports.lookups.ahead(decision.request);
  if (found === undefined) return decision;
  if (!(found instanceof Promise)) return { ...decision, request: found };
  void found.then((later) => entry.learn(later));
  return decision;
}

/** Does what the rule asks for. A rule without options, which most are, asks for nothing but the relay or the reset. */
function carryOut(connection: Connection, { verdict, request }: Decision): Acted | Promise<Acted> {
  const { client, service } = connection;
  if (verdict.effects.length === 0) {
    if (verdict.kind === "allow") return plainRelay;
    if (verdict.kind === "refuse" && service.refusal === "reset") return resetAtOnce(client);
  }
  return act(verdict, client.socket(), request, portsOfAct(connection));
}

const plainRelay: Acted = { kind: "relay" };
const plainReset: Acted = { kind: "refused", gone: Promise.resolve() };

function resetAtOnce(client: Wire): Acted {
  client.reset();
  return plainReset;
}

function recordFailure(cause: unknown, { entry, session }: Connection): void {
  if (cause instanceof DialError) {
    entry.ended({ upBytes: 0, downBytes: 0, cause: cause.endCause, detail: cause.message });
  } else if (cause instanceof ProxyRefused) {
    entry.refused({ reason: cause.reason, detail: cause.message });
  } else if (cause instanceof DecisionTimeout) {
    entry.refused({ reason: "timeout", detail: cause.message });
  } else if (session.cut.aborted) {
    entry.ended({ upBytes: 0, downBytes: 0, cause: abortCause(session.cut), detail: session.detail });
  } else {
    entry.failed(cause);
  }
}

/** The request of a client that was gone before anybody could see who it was. */
function nobody(daemon: string): Request {
  return { daemon, client: { address: "unknown" }, server: { address: "unknown" } };
}
