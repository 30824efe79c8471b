/** Carries out a verdict on its connection: effects in the order of the rule, then allow, refuse or twist. */
import type { Socket } from "node:net";
import type { Effect, Request, Verdict } from "../access/types.ts";
import type { ProgramEnd, Programs } from "../platform/commands.ts";
import { sendBanner } from "./banners.ts";
import type { FindFact } from "./banners.ts";
import { reasonOf } from "./reason.ts";
import { reset } from "../platform/reset.ts";
import type { RefusalKind, Refusals } from "./refuse.ts";
import type { Spawns } from "./spawn.ts";
import { twist } from "./twist.ts";

/** What carrying out a verdict takes. */
export interface ActPorts {
  readonly programs: Programs;
  readonly spawns: Spawns;
  readonly refusals: Refusals;
  /** How this service ends its refused clients. */
  readonly refusal: RefusalKind;
  /** For banners that name what is not known yet. */
  readonly findFact: FindFact;
  readonly bannerLimits: { readonly maxBytes: number; readonly timeoutMs: number };
  /** Idle time before the kernel asks whether a client with `keepalive` is still there. */
  readonly keepAliveMs: number;
  /** Goes to the log of this connection; may hold a program's words, so it is escaped there. */
  readonly warn: (message: string) => void;
  /** Ends a twisted command before its time (kick, last stop). */
  readonly signal?: AbortSignal;
}

/** What is left to do. Nothing but "relay" may open a backend connection. */
export type Acted =
  /** `lingerSeconds`: for the end of the relay; absent = the kernel's own way. */
  | { readonly kind: "relay"; readonly lingerSeconds?: number }
  /** The client has been ended in the service's way. `gone`: when it has left; a held one may stay for long. */
  | { readonly kind: "refused"; readonly gone: Promise<void> }
  /** A command has served the client to its end. */
  | { readonly kind: "twisted"; readonly end: ProgramEnd }
  /** The verdict could not be carried out, so the client was reset. */
  | { readonly kind: "failed"; readonly detail: string };

/**
 * Carries out a verdict. Commands of `spawn` are started and not waited for; banners are sent before anything that follows.
 *
 * @param client accepted, paused, with an `error` listener
 * @returns what is left to do; for a twist, after its command has ended
 *
 * Never rejects: what cannot be carried out resets the client.
 */
export async function act(
  verdict: Verdict,
  client: Socket,
  request: Request,
  ports: ActPorts,
): Promise<Acted> {
  const { programs, warn } = ports;
  let lingerSeconds: number | undefined;
  let spawned: Promise<void> | undefined;
  for (const effect of verdict.effects) {
    if (effect.kind === "linger") lingerSeconds = effect.seconds;
    else if (effect.kind === "spawn")
      spawned = ports.spawns.start(effect.command, { programs, warn, before: spawned });
    else {
      const failure = await carryOut(effect, client, request, portsAt(verdict.rule, ports));
      if (failure !== undefined) return fail(client, failure);
    }
  }
  if (verdict.kind === "allow")
    return { kind: "relay", ...(lingerSeconds === undefined ? {} : { lingerSeconds }) };
  if (verdict.kind === "refuse")
    return { kind: "refused", gone: ports.refusals.refuse(client, ports.refusal) };
  try {
    return { kind: "twisted", end: await twist(verdict.command, client, ports) };
  } catch (error) {
    return fail(client, `twist: ${reasonOf(error)}`);
  }
}

/** What is wrong with a banner is told with the place of its rule, as libwrap does. */
function portsAt(rule: Verdict["rule"], ports: ActPorts): ActPorts {
  if (rule === undefined) return ports;
  return { ...ports, warn: (message) => ports.warn(`${rule.file}, line ${rule.line}: ${message}`) };
}

async function carryOut(
  effect: Exclude<Effect, { kind: "linger" | "spawn" }>,
  client: Socket,
  request: Request,
  ports: ActPorts,
): Promise<string | undefined> {
  if (effect.kind === "banners") return await greet(effect, client, request, ports);
  client.setKeepAlive(true, ports.keepAliveMs);
  return undefined;
}

/** Why the connection cannot go on after its banner; undefined when it can. */
async function greet(
  { directory, late = [] }: Extract<Effect, { kind: "banners" }>,
  client: Socket,
  known: Request,
  { findFact, bannerLimits, warn }: ActPorts,
): Promise<string | undefined> {
  // What a later option has asked for is not known to the banner.
  const request = { ...known, late };
  try {
    const outcome = await sendBanner({ directory, request, findFact, ...bannerLimits, warn }, client);
    if (outcome === "too_slow") return "the client does not take its banner";
    return outcome === "too_long" ? "an expansion in the banner is too long" : undefined;
  } catch (error) {
    return `banners: ${reasonOf(error)}`;
  }
}

function fail(client: Socket, detail: string): Acted {
  reset(client);
  return { kind: "failed", detail };
}
