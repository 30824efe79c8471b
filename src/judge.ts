/** Asks the tables about one client: finds what they need, and asks again, within the service's limit. */

import { decide } from "./access/decide.ts";
import type { Fact, Request, Verdict } from "./access/types.ts";
import type { Aclexecs } from "./act/aclexec.ts";
import type { LiveTables } from "./config/live.ts";
import type { ForwardNames } from "./identify/forward-names.ts";
import type { Lookups } from "./identify/lookups.ts";
import { startDeadline } from "./platform/deadline.ts";
import type { Entry } from "./record/entry.ts";
import type { Journal } from "./record/journal.ts";
import type { Session } from "./sessions.ts";

/** What a decision asks, and where it complains. */
export interface JudgePorts {
  readonly journal: Pick<Journal, "warn">;
  readonly tables: Pick<LiveTables, "fresh" | "settled">;
  readonly lookups: Lookups;
  /** Names in the tables that lead to an address; absent = rules look at reverse names only. */
  readonly forwardNames?: Pick<ForwardNames, "namesOf"> | undefined;
  readonly aclexecs: Aclexecs;
}

/** One client that is being judged. */
export interface Judged {
  readonly ports: JudgePorts;
  /** `decisionMs` is the limit of everything before the verdict. */
  readonly service: { readonly decisionMs: number };
  readonly session: Session;
  readonly entry: Pick<Entry, "id" | "service">;
}

/** Finds who the client is behind the peer that has come. */
export type FindClient = (peer: Request, signal: AbortSignal) => Promise<Request>;

/** What the tables said, about what, and by which generation of them. */
export interface Decision {
  readonly verdict: Verdict;
  /** With every fact that a rule asked for. */
  readonly request: Request;
  readonly generation: number;
}

/** Thrown when there is no verdict within the service's limit; the client is refused. */
export class DecisionTimeout extends Error {
  override readonly name = "DecisionTimeout";
}

/**
 * Asks the tables about the client, finds what they need, and asks again; every round adds a fact, so it ends.
 *
 * @param findClient absent = the peer is the client
 * @returns the decision itself where the tables are at rest and need nothing: most do, and a promise and a timer for each would
 *   cost more than the decision
 * @throws as the promise rejects: DecisionTimeout, whatever `findClient` throws, and anything where the session is cut meanwhile
 */
export function judge(judged: Judged, peer: Request, findClient?: FindClient): Decision | Promise<Decision> {
  if (findClient !== undefined) return judgeInTime(judged, peer, findClient);
  const { ports } = judged;
  const generation = ports.tables.fresh();
  if (generation === undefined) return judgeInTime(judged, peer);
  const request = withForwardNames(peer, ports);
  const step = decide(generation.tables, request);
  if (step.kind === "need") return judgeInTime(judged, peer);
  return decided(judged, step, request, generation.number);
}

async function judgeInTime(judged: Judged, peer: Request, findClient?: FindClient): Promise<Decision> {
  const { ports, session } = judged;
  const { decisionMs } = judged.service;
  const { signal, clear } = startDeadline(decisionMs, session.cut.signal);
  try {
    let request = findClient === undefined ? peer : await findClient(peer, signal);
    request = withForwardNames(request, ports);
    const { tables, number } = ports.tables.fresh() ?? (await ports.tables.settled(signal));
    for (;;) {
      const step = decide(tables, request);
      if (step.kind !== "need") return decided(judged, step, request, number);
      request = await findFact(judged, step.fact, request, signal);
      signal.throwIfAborted();
    }
  } catch (cause) {
    if (!signal.aborted || session.cut.aborted) throw cause;
    throw new DecisionTimeout(`no verdict within ${decisionMs} ms`, { cause });
  } finally {
    clear();
  }
}

function decided({ session }: Judged, verdict: Verdict, request: Request, generation: number): Decision {
  if (verdict.kind !== "refuse") session.judged = request;
  return { verdict, request, generation };
}

/** Finds one fact: by asking the network, or by a command of `aclexec`. Never rejects; a fact is "unknown" at worst. */
export async function findFact(
  { ports, entry }: Pick<Judged, "ports" | "entry">,
  fact: Fact,
  request: Request,
  signal: AbortSignal,
): Promise<Request> {
  if (fact.kind !== "aclexec") return await ports.lookups.find(fact, request, signal);
  const outcome = await ports.aclexecs.run(fact.command, { signal, warn: warner(entry, ports) });
  return { ...request, commands: [...(request.commands ?? []), outcome] };
}

/** Tells the log of this client what a rule's command has to complain of. */
export function warner(
  { id, service }: Pick<Entry, "id" | "service">,
  { journal }: Pick<JudgePorts, "journal">,
): (message: string) => void {
  return (message) => journal.warn({ service, id, code: "act", message });
}

/** With the names in the tables that lead to the client's address by themselves (`names.forward`). */
function withForwardNames(request: Request, { forwardNames }: JudgePorts): Request {
  const names = forwardNames?.namesOf(request.client.address) ?? [];
  return names.length === 0 ? request : { ...request, client: { ...request.client, forwardNames: names } };
}
