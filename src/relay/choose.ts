/** Chooses the relay at start: the fast one where this Node has what it needs, and shows that it works. */

import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

import { makeFastRelay } from "./fast.ts";
import { findHandleAccess } from "./node-handle.ts";
import { referenceRelay } from "./reference.ts";
import type { Relay } from "./relay.ts";

/** As the configuration says it: "auto" takes the fast one if it works here. */
export type RelayChoice = "fast" | "reference" | "auto";

export interface ChosenRelay {
  readonly relay: Relay;
  readonly name: "fast" | "reference";
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
    const relay = makeFastRelay(await findAccess());
    await check(relay);
    return { relay, name: "fast", why: choice === "fast" ? "configured" : "works on this Node" };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return { relay: referenceRelay, name: "reference", why: `the fast relay does not work here: ${reason}` };
  }
}

/** Sends a question of several buffer sizes through a relay; the backend echoes it, both ways have to end. */
async function check(relay: Relay): Promise<void> {
  const question = Buffer.alloc(100_000, "0123456789abcdef!");
  const front = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, "127.0.0.1");
  const back = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
  const sockets: Socket[] = [];
  const giveUp = AbortSignal.timeout(checkMs);
  try {
    await Promise.all([once(front, "listening"), once(back, "listening")]);
    const accepting = once(front, "connection", { signal: giveUp }) as Promise<[Socket]>;
    const client = connect({ ...portOf(front), allowHalfOpen: true });
    const backend = connect({ ...portOf(back), allowHalfOpen: true }).pause();
    sockets.push(client, backend);
    client.end(question);
    const [accepted] = await accepting;
    sockets.push(accepted);
    if (backend.connecting) await once(backend, "connect", { signal: giveUp });
    const relaying = relay(accepted, backend, { idleMs: 0, signal: giveUp });
    const answer = Buffer.concat((await client.toArray({ signal: giveUp })) as Buffer[]);
    const { upBytes, downBytes, cause } = await relaying;
    if (!answer.equals(question) || upBytes !== question.length || downBytes !== question.length) {
      throw new Error(
        `sent ${question.length} bytes, ${upBytes} went up and ${downBytes} came back (${cause})`,
      );
    }
  } finally {
    for (const socket of sockets) socket.destroy();
    front.close();
    back.close();
  }
}

function portOf(server: ReturnType<typeof createServer>): { readonly host: string; readonly port: number } {
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}
