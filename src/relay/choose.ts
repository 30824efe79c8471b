/** Chooses the relay at start: the fast one where this Node has what it needs, and shows that it works. */

import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";

import { acceptBare, findHandleAccess, type BareAccess, type HandleAccess } from "../platform/node-handle.ts";
import { Wire } from "../platform/wire.ts";
import { BufferPool } from "./buffers.ts";
import { dial } from "./dial.ts";
import { makeFastRelay } from "./fast.ts";
import { referenceRelay } from "./reference.ts";
import type { Relay } from "./relay.ts";

/** As the configuration says it: "auto" takes the fast one if it works here. */
export type RelayChoice = "fast" | "reference" | "auto";

export interface ChosenRelay {
  readonly relay: Relay;
  readonly name: "fast" | "reference";
  /** Of the fast relay. */
  readonly buffers?: BufferPool;
  /** Connections need no Socket where this is there; only the fast relay can do without. */
  readonly bare?: BareAccess;
  /** For the log: why this one. */
  readonly why: string;
}

const checkMs = 2000;

/**
 * Never rejects: where the fast relay was asked for and does not work, the reference takes over and `why` says so.
 *
 * The check joins a client and a backend of our own on 127.0.0.1, some milliseconds once.
 *
 * @param findAccess how Node's private parts are found; another one only in tests
 */
export async function chooseRelay(choice: RelayChoice, findAccess = findHandleAccess): Promise<ChosenRelay> {
  if (choice === "reference") return { relay: referenceRelay, name: "reference", why: "configured" };
  try {
    const access = await findAccess();
    const buffers = new BufferPool();
    const relay = makeFastRelay(access, buffers);
    await check(relay);
    const why = choice === "fast" ? "configured" : "works on this Node";
    return { relay, name: "fast", buffers, ...(await checkBare(relay, access, why)) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return { relay: referenceRelay, name: "reference", why: `the fast relay does not work here: ${reason}` };
  }
}

/** Without bare connections the fast relay goes on with Sockets. */
async function checkBare(
  relay: Relay,
  { bare }: HandleAccess,
  why: string,
): Promise<{ readonly bare?: BareAccess; readonly why: string }> {
  try {
    if (bare === undefined) throw new Error("this Node keeps its handles to itself");
    await check(relay, bare);
    return { bare, why };
  } catch (cause) {
    return { why: `${why}, over sockets: ${cause instanceof Error ? cause.message : String(cause)}` };
  }
}

/** Sends a question of several buffer sizes through a relay; the backend echoes it, both ways have to end. */
async function check(relay: Relay, bare?: BareAccess): Promise<void> {
  const question = Buffer.alloc(100_000, "0123456789abcdef!");
  const front = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, "127.0.0.1");
  const back = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
  const ends: { destroy(): void }[] = [];
  const giveUp = AbortSignal.timeout(checkMs);
  try {
    await Promise.all([once(front, "listening"), once(back, "listening")]);
    const accepting = new Promise<Wire>((resolve) => {
      front.once("connection", (socket) => resolve(Wire.of(socket)));
      if (bare !== undefined) acceptBare(front, bare, (handle) => resolve(Wire.bare(bare, handle)));
    });
    const client = connect({ ...portOf(front), allowHalfOpen: true });
    ends.push(client);
    client.end(question);
    const backendAddress = { kind: "tcp", ...portOf(back) } as const;
    const backend = await dial(backendAddress, { connectTimeoutMs: checkMs, signal: giveUp, bare });
    ends.push(backend);
    const accepted = await Promise.race([accepting, aborted(giveUp)]);
    ends.push(accepted);
    if (bare !== undefined && (accepted.handle === undefined || backend.handle === undefined))
      throw new Error("a connection came with a socket");
    const relaying = relay(accepted, backend, { idleMs: 0, signal: giveUp });
    const answer = Buffer.concat((await client.toArray({ signal: giveUp })) as Buffer[]);
    const { upBytes, downBytes, cause } = await relaying;
    if (!answer.equals(question) || upBytes !== question.length || downBytes !== question.length) {
      throw new Error(
        `sent ${question.length} bytes, ${upBytes} went up and ${downBytes} came back (${cause})`,
      );
    }
  } finally {
    for (const end of ends) end.destroy();
    front.close();
    back.close();
  }
}

async function aborted(signal: AbortSignal): Promise<never> {
  await once(signal, "abort");
  throw signal.reason;
}

function portOf(server: ReturnType<typeof createServer>): { readonly host: string; readonly port: number } {
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}
