/** Counts clients, and says whether there is room for one more; pure. */

/** A place taken by one client. */
export interface Place {
  /** Gives it back; a second call does nothing. */
  leave(): void;
}

/** Clients at once of one service, and of all together. */
export class Limits {
  #maxTotal: number;
  #total = 0;
  readonly #perService = new Map<string, number>();

  /** @param maxTotal clients of all services at once */
  constructor(maxTotal: number) {
    this.#maxTotal = maxTotal;
  }

  /** Changes how many clients of all services there may be; those above a lower number stay. */
  resize(maxTotal: number): void {
    this.#maxTotal = maxTotal;
  }

  /** Takes a place for one client of `service`; undefined when there is none. */
  enter(service: string, maxOfService: number): Place | undefined {
    const count = this.#perService.get(service) ?? 0;
    if (this.#total >= this.#maxTotal || count >= maxOfService) return undefined;
    this.#add(service, 1);
    let isTaken = true;
    return {
      leave: () => {
        if (isTaken) this.#add(service, -1);
        isTaken = false;
      },
    };
  }

  /** Clients of all services now. */
  get total(): number {
    return this.#total;
  }

  #add(service: string, count: number): void {
    this.#total += count;
    const now = (this.#perService.get(service) ?? 0) + count;
    if (now > 0) this.#perService.set(service, now);
    else this.#perService.delete(service);
  }
}

/**
 * How many clients fit into a limit of open files: two descriptors each (client and backend), and a reserve for
 * listeners, tables, logs, lookups and commands, without which Node would close accepted clients in silence.
 */
export function clientsFor(maxDescriptors: number): number {
  const reserve = Math.max(64, Math.ceil(maxDescriptors * 0.05));
  return Math.max(1, Math.floor((maxDescriptors - reserve) / 2));
}
