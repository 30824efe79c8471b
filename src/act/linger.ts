/** Keeps the rule's `linger`: after the end, unsent bytes get so many seconds, then a reset. */
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { findUnsent } from "../platform/unsent.ts";
import type { Ends } from "../platform/unsent.ts";

/** How often the kernel is asked; a table that takes long to read is read less often, but a rule counts in seconds. */
const SWEEP_MS = 100;
const MAX_SWEEP_MS = 1000;
const SWEEP_COST_FACTOR = 10;

/** One ended connection whose unsent bytes still have time. */
interface Lingering {
  readonly client: Socket;
  readonly ends: Ends;
  readonly deadline: number;
  readonly finish: () => void;
}

/**
 * Keeps ended connections until the client has all its bytes, or the rule's time is over. One for the whole daemon.
 *
 * The kernel's own SO_LINGER is not used: Node cannot set it, it makes close(2) wait, and Linux forgets it there without a reset.
 * So the socket stays open after its end and the kernel is asked what it has not sent.
 */
export class Lingers {
  readonly #maxLingering: number;
  readonly #lingering = new Set<Lingering>();
  #timer: NodeJS.Timeout | undefined;

  /** @param options `maxLingering`: how many ended connections are kept; one more is left to the kernel */
  constructor(options: { readonly maxLingering: number }) {
    this.#maxLingering = options.maxLingering;
  }

  /** How many ended connections are kept just now. */
  get lingering(): number {
    return this.#lingering.size;
  }

  /**
   * Sees to the end of one client. Call it before the relay; from then on `client.destroy()` counts as the end, however it comes
   * about, and `client.destroyed` is true at once as ever. A reset stays a reset.
   *
   * @param seconds 0: the end is a reset
   */
  watch(client: Socket, seconds: number): void {
    const ends = endsOf(client);
    if (ends === undefined) return; // a unix socket, or gone already
    const destroyPlainly = client._destroy.bind(client);
    let isReset = false;
    const resetAndDestroy = client.resetAndDestroy.bind(client);
    client.resetAndDestroy = () => {
      isReset = true;
      return resetAndDestroy();
    };
    client._destroy = (error, done) => {
      const finish = (): void => destroyPlainly(error, done);
      if (isReset || error !== null || this.#lingering.size >= this.#maxLingering) return finish();
      // destroy() has begun: all that this adds to it is the way in which the descriptor is closed.
      if (seconds === 0) {
        resetAndDestroy();
        return finish();
      }
      this.#keep({ client, ends, deadline: performance.now() + seconds * 1000, finish });
    };
  }

  /** Leaves what is still kept to the kernel. */
  close(): void {
    clearTimeout(this.#timer);
    for (const { finish } of this.#lingering) finish();
    this.#lingering.clear();
  }

  #keep(ended: Lingering): void {
    this.#lingering.add(ended);
    if (this.#lingering.size === 1) void this.#sweep();
  }

  /** Lets go of those whose bytes have arrived, resets those whose time is over, and comes again while any are left. */
  async #sweep(): Promise<void> {
    const startedAt = performance.now();
    const asked = [...this.#lingering];
    // Where there is no such table, all are let go: the kernel then ends them in its own way.
    const unsent = await findUnsent(asked.map(({ ends }) => ends)).catch(() => []);
    const now = performance.now();
    for (const [index, ended] of asked.entries()) {
      if (!this.#lingering.has(ended)) continue;
      const isDelivered = (unsent[index] ?? 0) === 0;
      if (!isDelivered && now < ended.deadline) continue;
      this.#lingering.delete(ended);
      if (!isDelivered) ended.client.resetAndDestroy();
      ended.finish();
    }
    const pauseMs = Math.min(Math.max(SWEEP_MS, (now - startedAt) * SWEEP_COST_FACTOR), MAX_SWEEP_MS);
    if (this.#lingering.size > 0) this.#timer = setTimeout(() => void this.#sweep(), pauseMs);
  }
}

function endsOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): Ends | undefined {
  if (
    localAddress === undefined ||
    localPort === undefined ||
    remoteAddress === undefined ||
    remotePort === undefined
  )
    return undefined;
  return { localAddress, localPort, remoteAddress, remotePort };
}
