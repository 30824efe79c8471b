/** What the stages of a connection work with: what all connections share, and what is of this one. */

import type { ActPorts } from "./act/act.ts";
import type { Lingers } from "./act/linger.ts";
import { findFact, type JudgePorts, warner } from "./judge.ts";
import type { Limits } from "./listen/limits.ts";
import type { BareAccess } from "./platform/node-handle.ts";
import type { Programs } from "./platform/commands.ts";
import type { Wire } from "./platform/wire.ts";
import type { Entry } from "./record/entry.ts";
import type { Journal } from "./record/journal.ts";
import type { KeepAlives } from "./relay/keep-alive.ts";
import type { Relay } from "./relay/relay.ts";
import type { Service } from "./service.ts";
import type { Session, Sessions } from "./sessions.ts";

/** What all connections share. */
export interface SharedPorts extends JudgePorts {
  readonly journal: Journal;
  readonly limits: Limits;
  readonly act: Omit<ActPorts, "programs" | "refusal" | "findFact" | "warn" | "signal">;
  /** Starts the programs of a service, no faster than it may. */
  readonly programsOf: (service: string) => Programs;
  readonly lingers: Lingers;
  readonly keepAlives: KeepAlives;
  readonly relay: Relay;
  /** Absent = every connection has a Socket. */
  readonly bare: BareAccess | undefined;
  readonly processId: number;
  readonly sessions: Sessions;
}

/** One connection with everything that its stages work with. */
export interface Connection {
  /** Bare until a stage needs its Socket; most need none. */
  readonly client: Wire;
  readonly service: Service;
  readonly ports: SharedPorts;
  readonly entry: Entry;
  readonly session: Session;
}

/** What the act on a verdict needs of them. */
export function portsOfAct(connection: Connection): ActPorts {
  const { service, ports, entry, session } = connection;
  return {
    ...ports.act,
    programs: ports.programsOf(service.name),
    refusal: service.refusal,
    findFact: (fact, request) => findFact(connection, fact, request, session.cut.signal),
    warn: warner(entry, ports),
    signal: session.cut.signal,
  };
}
