/** The connections that are being served: how many, and how to cut one of them or all. */

import { isDeepStrictEqual } from "node:util";
import type { Request } from "./access/types.ts";
import { Cut } from "./platform/cut.ts";
import { type Swept, sweepEverySecond, sweepNoMore } from "./platform/sweep.ts";
import type { Wire } from "./platform/wire.ts";
import type { BackendAddress } from "./relay/dial.ts";

/** Why a session is cut; a cause of the `end` record. */
export type CutCause = "drain" | "kicked" | "max_age";

/** One connection from accept to its last record. */
export interface Session {
  readonly id: string;
  readonly service: string;
  /** The services of ours that the connection came through before this one, the first one first; see `way`. */
  cameThrough?: readonly string[];
  /** Aborted, with the cause to record, when this connection has to end at once. */
  readonly cut: Cut;
  /** What the tables allowed it for, once they have: what newer tables are asked about. */
  judged?: Request;
  /** The other side of the relay, once it is there. */
  backend?: Wire;
  /** Which backend that is. */
  backendAddress?: BackendAddress;
  /** More about why it was cut, for its record. */
  detail?: string;
}

/** All that are open, decided or not. */
export class Sessions implements Swept {
  readonly #open = new Map<string, Session>();
  /** When those that have a limit are cut, and why; milliseconds of a clock that never jumps. */
  readonly #until = new Map<string, { readonly ms: number; readonly cause: CutCause }>();
  readonly #whenEmpty = new Set<() => void>();
  #stopped: CutCause | undefined;

  get size(): number {
    return this.#open.size;
  }

  /** Every `enter` is answered by one `leave`. */
  enter(id: string, service: string): Session {
    const session: Session = { id, service, cut: new Cut() };
    this.#open.set(id, session);
    if (this.#stopped !== undefined) session.cut.abort(this.#stopped);
    return session;
  }

  leave({ id }: Session): void {
    this.#open.delete(id);
    if (this.#until.delete(id) && this.#until.size === 0) sweepNoMore(this);
    if (this.#open.size > 0) return;
    for (const resolve of this.#whenEmpty) resolve();
    this.#whenEmpty.clear();
  }

  /** The services that have a session, of which a reload may have taken some away. */
  services(): ReadonlySet<string> {
    return new Set(Array.from(this.#open.values(), ({ service }) => service));
  }

  /** The services that a connection has come through, its own last; none where no such one is open here. */
  way(id: string): readonly string[] {
    const session = this.#open.get(id);
    return session === undefined ? [] : [...(session.cameThrough ?? []), session.service];
  }

  /** Our end of a session's connection to its backend; undefined while there is none, and where it has no port. */
  backendFrom(id: string): { readonly address: string; readonly port: number } | undefined {
    const { localAddress: address, localPort: port } = this.#open.get(id)?.backend ?? {};
    return address === undefined || port === undefined ? undefined : { address, port };
  }

  /** Cuts one when so much time has passed, to the next second. */
  limitAge({ id }: Session, leftMs: number): void {
    this.#limit(id, leftMs, "max_age");
  }

  /**
   * Cuts those of a service that are open now when so much time has passed, to the next second: all at its end, or one after another
   * over the last `spreadMs` of it, the oldest first.
   */
  limitDrain(service: string, leftMs: number, spreadMs: number): void {
    const ids = [...this.#open.values()].filter((each) => each.service === service).map(({ id }) => id);
    const firstMs = Math.max(0, leftMs - spreadMs);
    // Ids sort by the time of accept.
    for (const [at, id] of ids.sort().entries())
      this.#limit(id, firstMs + ((leftMs - firstMs) * (at + 1)) / ids.length, "drain");
  }

  /** The first limit of several counts. */
  #limit(id: string, leftMs: number, cause: CutCause): void {
    const ms = performance.now() + leftMs;
    if (ms >= (this.#until.get(id)?.ms ?? Number.POSITIVE_INFINITY)) return;
    this.#until.set(id, { ms, cause });
    sweepEverySecond(this);
  }

  sweep(): void {
    const now = performance.now();
    for (const [id, { ms, cause }] of this.#until) if (now >= ms) this.cut(id, cause);
  }

  /** Those that the tables have let in. */
  judged(): readonly Session[] {
    return [...this.#open.values()].filter(({ judged }) => judged !== undefined);
  }

  /** Cuts one; false when there is none of that id. */
  cut(id: string, cause: CutCause, detail?: string): boolean {
    const session = this.#open.get(id);
    if (session === undefined) return false;
    if (detail !== undefined) session.detail = detail;
    session.cut.abort(cause);
    return true;
  }

  /** Cuts those of a service that are relayed to one backend, whatever has been reloaded since. */
  cutFrom(service: string, backend: BackendAddress, detail: string): void {
    for (const each of this.#open.values())
      if (each.service === service && isDeepStrictEqual(each.backendAddress, backend))
        this.cut(each.id, "kicked", detail);
  }

  /** Cuts all, and from now on whatever comes in still. */
  stop(cause: CutCause): void {
    this.#stopped = cause;
    for (const { cut } of this.#open.values()) cut.abort(cause);
  }

  /** Resolves when none is open. */
  async ended(): Promise<void> {
    if (this.#open.size === 0) return;
    await new Promise<void>((resolve) => this.#whenEmpty.add(resolve));
  }
}
