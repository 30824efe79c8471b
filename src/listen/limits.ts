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

/** How many sockets of each kind a limit of open files allows. */
export interface Rooms {
  /** Clients that are served, with a descriptor for the backend each. */
  readonly clients: number;
  /** Refused clients that are held, and as many that are being closed. */
  readonly refused: number;
  /** Clients whose last bytes are still on their way after the end of their session. */
  readonly lingering: number;
}

/** Of refused and of lingering clients; more would be no use to anybody. */
const maxAside = 1000;

/**
 * Divides a limit of open files: two descriptors for each client, one for each that is refused or lingers, and a reserve for
 * listeners, tables, logs, lookups and commands. Beyond the limit Node would close accepted clients in silence.
 */
export function roomsFor(maxDescriptors: number): Rooms {
  const reserve = Math.max(64, Math.ceil(maxDescriptors * 0.05));
  const aside = Math.min(maxAside, Math.max(1, Math.floor(maxDescriptors * 0.05)));
  const clients = Math.max(1, Math.floor((maxDescriptors - reserve - 3 * aside) / 2));
  return { clients, refused: aside, lingering: aside };
}
