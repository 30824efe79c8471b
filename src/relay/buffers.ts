/** The read buffers of the fast relay: small while a session rests, large under bulk traffic, bounded in all. */

/** Sizes from level to level: a read that fills its buffer asks for the next one. The first holds a keystroke or a query. */
export const bufferSizes = [2 ** 9, 2 ** 14, 2 ** 18, 2 ** 20] as const;

export const topLevel = bufferSizes.length - 1;

const slabBytes = 2 ** 16;

/** Up to this level a buffer is always to be had: what these take in all is bounded by the limit of clients. */
export const modestLevel = 1;

/** What there is to lend. */
export interface BufferLimits {
  /** Bytes of the levels above, in use by all sessions together; beyond it a session stays with what it has. */
  readonly allBytes: number;
  /** Bytes of the largest single buffer; modest ones are lent whatever it says. */
  readonly largestBytes: number;
}

/** Large buffers kept for the next session that needs one. */
const maxSpareBytes = 2 ** 24;

/**
 * Lends buffers. One that has been taken belongs to its borrower alone until it is given back: a buffer that another
 * socket reads into while a write of it is unfinished corrupts data.
 *
 * A client that reads nothing keeps its session's buffer for as long as it likes. So the largest ones are lent only while half
 * of what there is for all is free, and whoever comes when nothing is left still moves bulk through a modest one.
 */
export class BufferPool {
  readonly #spare: Uint8Array[][] = bufferSizes.map(() => []);
  #limits: BufferLimits = { allBytes: 2 ** 28, largestBytes: 2 ** 20 };
  #largeBytes = 0;
  #spareBytes = 0;
  #isShort = false;

  /** Buffers that are lent already stay with their borrowers. */
  limit(limits: BufferLimits): void {
    this.#limits = limits;
  }

  /** Somebody has asked in vain, and half of it has not come back since. */
  get isShort(): boolean {
    return this.#isShort;
  }

  /**
   * A buffer of a level, with whatever was in it; undefined when the sessions together have too much already, or when it is larger than
   * any may be.
   */
  take(level: 0 | 1): Uint8Array;
  take(level: number): Uint8Array | undefined;
  take(level: number): Uint8Array | undefined {
    if (level === 0) return this.#takeSmall();
    const size = sizeOf(level);
    if (level > modestLevel) {
      const { allBytes, largestBytes } = this.#limits;
      if (size > largestBytes) return undefined;
      const mostBytes = level === topLevel ? allBytes / 2 : allBytes;
      if (this.#largeBytes + size > mostBytes) {
        this.#isShort = true;
        return undefined;
      }
      this.#largeBytes += size;
    }
    const spare = this.#spare[level]?.pop();
    if (spare) this.#spareBytes -= size;
    return spare ?? Buffer.allocUnsafeSlow(size);
  }

  give(level: number, buffer: Uint8Array): void {
    const size = sizeOf(level);
    if (level > modestLevel) {
      this.#largeBytes -= size;
      if (this.#largeBytes < this.#limits.allBytes / 2) this.#isShort = false;
    }
    if (level > 0) {
      if (this.#spareBytes + size > maxSpareBytes) return;
      this.#spareBytes += size;
    }
    this.#spare[level]?.push(buffer);
  }

  /** Cut out of slabs, since an ArrayBuffer each would cost half as much again. */
  #takeSmall(): Uint8Array {
    const spare = this.#spare[0] ?? [];
    const size = bufferSizes[0];
    if (spare.length === 0) {
      const slab = new ArrayBuffer(slabBytes);
      for (let at = slabBytes - size; at >= 0; at -= size) spare.push(new Uint8Array(slab, at, size));
    }
    return spare.pop() ?? new Uint8Array(size);
  }
}

function sizeOf(level: number): number {
  return bufferSizes[level] ?? bufferSizes[0];
}
