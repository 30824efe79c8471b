/** The life of one connection, from accept to its last record; the only file that knows the order of the stages. */

import type { Socket } from "node:net";
import { decide } from "./access/decide.ts";
import type { Fact, Request, Verdict } from "./access/types.ts";
import type { Aclexecs } from "./act/aclexec.ts";
import { act, type Acted, type ActPorts } from "./act/act.ts";
import { reset, type RefusalKind } from "./act/refuse.ts";
import type { LiveTables } from "./config/live.ts";
import type { Lookups } from "./identify/lookups.ts";
import { requestOf } from "./identify/request.ts";
import type { BackendEndpoint } from "./listen/endpoint.ts";
import type { Limits } from "./listen/limits.ts";
import type { Entry } from "./record/entry.ts";
import type { Journal } from "./record/journal.ts";
import { dial, DialError } from "./relay/dial.ts";
import { abortCause, type Relay } from "./relay/relay.ts";
import type { Session, Sessions } from "./sessions.ts";

/** One configured listener with its daemon name and backend. */
export interface Service {
  readonly name: string;
  /** What the tables match on. */
  readonly daemon: string;
  readonly backend: BackendEndpoint;
  /** The backend as records name it. */
  readonly backendText: string;
  readonly refusal: RefusalKind;
  readonly connectTimeoutMs: number;
  /** 0 = no limit. */
  readonly idleMs: number;
  /** Everything between accept and verdict. */
  readonly decisionMs: number;
  readonly maxConnections: number;
}

/** What all connections share. */
export interface Ports {
  readonly journal: Journal;
  readonly limits: Limits;
  readonly tables: Pick<LiveTables, "fresh" | "settled">;
  readonly lookups: Lookups;
  readonly aclexecs: Aclexecs;
  readonly act: Omit<ActPorts, "refusal" | "findFact" | "warn" | "signal">;
  readonly relay: Relay;
  readonly processId: number;
  readonly sessions: Sessions;
}

/**
 * Serves one client: identify, decide, act, relay, record.
 *
 * @param client accepted and paused; it is closed when the promise resolves, which is never rejected
 */
export async function serve(client: Socket, service: Service, ports: Ports): Promise<void> {
  client.on("error", heard); // before the first await: an "error" that nobody hears ends the process
  const asked = requestOf(client, service.daemon);
  const entry = ports.journal.open({ service: service.name, ...(asked ?? nobody(service.daemon)) });
  const session = ports.sessions.enter(entry.id);
  const hasPlace = ports.limits.enter(service.name, service.maxConnections);
  try {
    if (asked === undefined) return entry.refused({ reason: "aborted" });
    if (!hasPlace) return entry.refused({ reason: "limit" });
    const decision = await judge({ ...asked, processId: ports.processId }, service, ports, entry, session);
    const traffic = new Traffic(client);
    record(decision, service, entry, traffic);
    const acted = await act(
      decision.verdict,
      client,
      decision.request,
      portsOfAct(service, ports, entry, session),
    );
    if (acted.kind !== "relay") return await finish(acted, entry, session);
    const { connectTimeoutMs, idleMs } = service;
    const backend = await dial(service.backend, { connectTimeoutMs, signal: session.signal });
    traffic.backend = backend;
    entry.ended({
      ...(await ports.relay(client, backend, { idleMs, signal: session.signal })),
      ...detailOf(session),
    });
  } catch (cause) {
    recordFailure(cause, entry);
  } finally {
    if (hasPlace) ports.limits.leave(service.name);
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

/** Asks the tables, finds what they need, and asks again; every round adds a fact, so it ends. */
async function judge(
  asked: Request,
  service: Service,
  ports: Ports,
  entry: Entry,
  session: Session,
): Promise<Decision> {
  let deadline: AbortSignal | undefined; // most decisions need none: a timer for each would cost more than they do
  const limit = (): AbortSignal =>
    (deadline ??= AbortSignal.any([session.signal, AbortSignal.timeout(service.decisionMs)]));
  try {
    const { tables, number } = ports.tables.fresh() ?? (await ports.tables.settled(limit()));
    for (let request = asked; ;) {
      const step = decide(tables, request);
      if (step.kind !== "need") {
        if (step.kind !== "refuse") session.judged = request;
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
function record(decision: Decision, service: Service, entry: Entry, traffic: Traffic): void {
  const { verdict } = decision;
  switch (verdict.kind) {
    case "allow":
      return entry.accepted({ ...decision, backend: service.backendText, traffic: () => traffic.soFar() });
    case "refuse":
      return entry.refused(decision);
    case "twist":
      return entry.twisted({ ...decision, command: verdict.command.line });
  }
}

function portsOfAct(service: Service, ports: Ports, entry: Entry, { signal }: Session): ActPorts {
  return {
    ...ports.act,
    refusal: service.refusal,
    findFact: (fact, request) => find(fact, request, ports, signal, entry),
    warn: warner(entry, ports),
    signal,
  };
}

/** Ends the entry of a connection that goes to no backend. */
async function finish(
  acted: Exclude<Acted, { kind: "relay" }>,
  entry: Entry,
  session: Session,
): Promise<void> {
  switch (acted.kind) {
    case "refused":
      return await acted.gone;
    case "twisted": {
      const { status, signal } = acted.end;
      const detail = session.detail ?? (signal === null ? `exit status ${status}` : `ended by ${signal}`);
      const cause = session.signal.aborted ? abortCause(session.signal) : "handed_over";
      return entry.ended({ upBytes: null, downBytes: null, cause, detail });
    }
    case "failed":
      return entry.ended({ upBytes: 0, downBytes: 0, cause: "internal", detail: acted.detail });
  }
}

/** Bytes moved so far, as both sockets have read them; a backend that is not there yet has sent none. */
class Traffic {
  readonly #client: Socket;
  backend: Socket | undefined;

  constructor(client: Socket) {
    this.#client = client;
  }

  soFar(): { upBytes: number; downBytes: number } {
    return { upBytes: this.#client.bytesRead, downBytes: this.backend?.bytesRead ?? 0 };
  }
}

function detailOf({ detail }: Session): { detail: string } | undefined {
  return detail === undefined ? undefined : { detail };
}

function recordFailure(cause: unknown, entry: Entry): void {
  if (cause instanceof DialError) {
    entry.ended({ upBytes: 0, downBytes: 0, cause: cause.endCause, detail: cause.message });
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
