/** The limit of a session whose backend has ended, and whose client does not. */

import { type Swept, sweepEverySecond, sweepMs, sweepNoMore } from "../platform/sweep.ts";

/** The session. An object and no functions, since a short session would make more of those than are called. */
export interface HalfClosed {
  /** Bytes from the client so far that the backend's socket has taken. */
  movedUp(): number;
  /** None has been for too long. Called once. */
  expired(): void;
}

/** Why such a session was ended; the detail of its `end` record, whose cause is `idle_timeout`. */
export const halfClosedDetail = "half_closed";

/**
 * Begins when everything that the backend has said is passed on, its end too. Without it a silent client keeps its place for as
 * long as it likes, although there is hardly anybody left to talk to: sshd ends by itself who does not log in.
 *
 * The other way round there is no such limit. A client that ends and waits has asked for something (`tar | ssh`, rsync, HTTP/1.0),
 * and its backend hears the end and decides how long it works on the answer.
 */
export class HalfClosedWatch implements Swept {
  readonly #session: HalfClosed;
  readonly #limitMs: number;
  #bytes = -1;
  #quietMs = 0;

  /** @param limitMs never 0; taken to the next second */
  constructor(limitMs: number, session: HalfClosed) {
    this.#limitMs = limitMs;
    this.#session = session;
    sweepEverySecond(this);
  }

  close(): void {
    sweepNoMore(this);
  }

  sweep(): void {
    const bytes = this.#session.movedUp();
    const hasMoved = bytes !== this.#bytes;
    this.#bytes = bytes;
    this.#quietMs = hasMoved ? 0 : this.#quietMs + sweepMs;
    if (this.#quietMs < this.#limitMs) return;
    this.close();
    this.#session.expired();
  }
}
