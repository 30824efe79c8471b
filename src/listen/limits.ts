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

/** What the process may use. */
export interface Means {
  /** Limit of open files. */
  readonly maxDescriptors: number;
  /** Limit of the JavaScript heap, in bytes. */
  readonly maxHeapBytes: number;
}

/** Heap that a client may need at worst, with timers, look-ups and records under way; an idle session has a tenth of it. */
const heapBytesPerClient = 16 * 1024;

/** Heap of the program itself, with small tables. */
const ownHeapBytes = 48 * 1024 * 1024;

/** Of refused and of lingering clients; more would be no use to anybody. */
const maxAside = 1000;

/**
 * Divides a limit of open files: two descriptors for each client, one for each that is refused or lingers, and a reserve for
 * listeners, tables, logs, lookups and commands. Beyond the limit Node would close accepted clients in silence. Clients may fill
 * half of the heap that the program leaves, since the end of the heap is the end of the process; tables have the other half.
 */
export function roomsFor({ maxDescriptors, maxHeapBytes }: Means): Rooms {
  const reserve = Math.max(64, Math.ceil(maxDescriptors * 0.05));
  const aside = Math.min(maxAside, Math.max(1, Math.floor(maxDescriptors * 0.05)));
  const byDescriptors = Math.floor((maxDescriptors - reserve - 3 * aside) / 2);
  const byHeap = Math.floor((maxHeapBytes - ownHeapBytes) / 2 / heapBytesPerClient);
  const clients = Math.max(1, Math.min(byDescriptors, byHeap));
  return { clients, refused: aside, lingering: aside };
}
