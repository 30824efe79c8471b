/** Ends the connection of a refused client: by a reset, by a clean end, or by keeping it waiting. */
import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { reset } from "../platform/reset.ts";

/** reset: at once, by RST. close: by FIN, what the client sent is thrown away. hold: silence for a while, then a reset. */
export type RefusalKind = "reset" | "close" | "hold";

/** What refused clients may cost. */
export interface RefusalLimits {
  /** Clients held, or waiting for their refusal, at the same time; one more is reset at once. */
  readonly maxHeld: number;
  readonly holdMs: number;
  /** Clients that we have ended and whose own end we wait for; one more is reset. */
  readonly maxClosing: number;
  /** How long we wait for a client's own end after ours, or after a banner. */
  readonly closeMs: number;
}

/** Bytes read and thrown away of one refused client; then its window fills and it waits. */
const MAX_DISCARDED_BYTES = 262_144;

/**
 * Ends refused clients. One for the whole daemon, because its limits are.
 *
 * Difference 3: tcpd keeps every refused client for five seconds and then closes, which is a reset or a clean end by chance, depending on
 * whether the client has sent something. Here the kind is chosen, and is what the client sees.
 */
export class Refusals {
  #limits: RefusalLimits;
  readonly #held = new Set<Socket>();
  readonly #closing = new Set<Socket>();
  #waiting = 0;

  constructor(limits: RefusalLimits) {
    this.#limits = limits;
  }

  /** Those who are held already stay for as long as they were to. */
  limit(limits: Partial<RefusalLimits>): void {
    this.#limits = { ...this.#limits, ...limits };
  }

  /** How many clients are held just now, or wait for their refusal. */
  get held(): number {
    return this.#held.size + this.#waiting;
  }

  /**
   * Waits before a client is refused, so that the time does not tell what was asked about it. The client has to be paused: one
   * that ends its side meanwhile shall be refused no sooner.
   *
   * @param ageMs how long ago it came
   * @param everyMs resolves when its age is a whole multiple of this; at once where too many are held already
   *
   * Never rejects; the signal ends the wait.
   */
  async wait(ageMs: number, everyMs: number, signal: AbortSignal): Promise<void> {
    if (this.held >= this.#limits.maxHeld) return;
    this.#waiting += 1;
    await pause(Math.ceil(everyMs - (ageMs % everyMs)), undefined, { signal }).catch(ignore);
    this.#waiting -= 1;
  }

  /**
   * Ends one client. A reset after bytes of ours (a banner) waits for the client to read them and go, bounded by `closeMs`,
   * because the systems of many clients throw away unread bytes when a reset comes.
   *
   * @returns when the client is gone. A held client needs no slot among the served: do not wait for it with one in hand.
   *
   * Never rejects.
   */
  async refuse(client: Socket, kind: RefusalKind): Promise<void> {
    const gone = closed(client);
    client.on("error", ignore);
    if (client.destroyed) return await gone;
    if (kind === "hold" && this.held < this.#limits.maxHeld) this.#hold(client);
    else if (kind === "close" && this.#closing.size < this.#limits.maxClosing) this.#close(client);
    else if (client.bytesWritten > 0 && this.#closing.size < this.#limits.maxClosing)
      this.#resetWhenRead(client);
    else reset(client);
    return await gone;
  }

  /** Resets every client that is held or still closing. */
  close(): void {
    for (const client of [...this.#held, ...this.#closing]) reset(client);
  }

  #hold(client: Socket): void {
    keepUntilClosed(this.#held, client, this.#limits.holdMs, () => reset(client));
    client.once("end", () => reset(client));
    discard(client);
  }

  /** Bytes that nobody has read when a socket is closed make the kernel send RST instead of FIN, so they are read first. */
  #close(client: Socket): void {
    keepUntilClosed(this.#closing, client, this.#limits.closeMs, () => client.destroy());
    client.once("end", () => client.destroySoon());
    client.end();
    discard(client);
  }

  #resetWhenRead(client: Socket): void {
    keepUntilClosed(this.#closing, client, this.#limits.closeMs, () => reset(client));
    client.once("end", () => reset(client));
    discard(client);
  }
}

async function closed(client: Socket): Promise<void> {
  if (client.closed) return;
  await new Promise<void>((resolve) => {
    client.once("close", () => resolve());
  });
}

function keepUntilClosed(room: Set<Socket>, client: Socket, withinMs: number, atLimit: () => void): void {
  room.add(client);
  const limit = setTimeout(atLimit, withinMs);
  client.once("close", () => {
    clearTimeout(limit);
    room.delete(client);
  });
}

/** Reads so that the client's end is heard (a paused socket hears nothing), but not without bound. */
function discard(client: Socket): void {
  let left = MAX_DISCARDED_BYTES;
  client.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left <= 0) client.pause();
  });
  client.resume();
}

function ignore(): void {
  // A refused client that goes away in its own manner is no error, nor is the early end of a wait; the journal has its record.
}
