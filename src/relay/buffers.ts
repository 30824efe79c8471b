/** The read buffers of the fast relay: small while a session rests, large under bulk traffic, bounded in all. */

/** Sizes from level to level: a read that fills its buffer asks for the next one. The first holds a keystroke or a query. */
export const bufferSizes = [2 ** 9, 2 ** 14, 2 ** 18, 2 ** 20] as const;

export const topLevel = bufferSizes.length - 1;

const slabBytes = 2 ** 16;

/** Large buffers in use by all sessions together; beyond it a session stays with what it has. */
const maxLargeBytes = 2 ** 28;

/** Large buffers kept for the next session that needs one. */
const maxSpareBytes = 2 ** 24;

/**
 * Lends buffers. One that has been taken belongs to its borrower alone until it is given back: a buffer that another
 * socket reads into while a write of it is unfinished corrupts data.
 */
export class BufferPool {
  readonly #spare: Uint8Array[][] = bufferSizes.map(() => []);
  #largeBytes = 0;
  #spareBytes = 0;

  /** A buffer of a level, with whatever was in it; undefined when the sessions together have too much already. */
  take(level: number): Uint8Array | undefined {
    const size = sizeOf(level);
    if (level === 0) return this.#takeSmall();
    if (this.#largeBytes + size > maxLargeBytes) return undefined;
    this.#largeBytes += size;
    const spare = this.#spare[level]?.pop();
    if (spare) this.#spareBytes -= size;
    return spare ?? Buffer.allocUnsafeSlow(size);
  }

  /** The smallest buffer: always to be had, cut out of slabs since an ArrayBuffer each would cost half as much again. */
  takeSmall(): Uint8Array {
    return this.#takeSmall();
  }

  give(level: number, buffer: Uint8Array): void {
    const size = sizeOf(level);
    if (level > 0) {
      this.#largeBytes -= size;
      if (this.#spareBytes + size > maxSpareBytes) return;
      this.#spareBytes += size;
    }
    this.#spare[level]?.push(buffer);
  }

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
