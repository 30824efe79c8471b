/** Flat arrays of numbers that grow: millions of entries without an object for each. */

/** Unsigned 32-bit numbers, one after another. */
export class Numbers {
  length = 0;
  private items: Uint32Array;

  constructor(capacity = 64) {
    this.items = new Uint32Array(capacity);
  }

  push(value: number): void {
    if (this.length === this.items.length) {
      const wider = new Uint32Array(this.items.length * 2);
      wider.set(this.items);
      this.items = wider;
    }
    this.items[this.length++] = value;
  }

  at(index: number): number {
    return this.items[index] ?? 0;
  }

  set(index: number, value: number): void {
    this.items[index] = value;
  }

  /** Keeps the smaller of what is there and `value`. */
  lowerTo(index: number, value: number): void {
    if (value < this.at(index)) this.items[index] = value;
  }

  /** The numbers as they stand; good until the next `push`. */
  view(): Uint32Array {
    return this.items.subarray(0, this.length);
  }

  /** The numbers in an array of their own; the growing one may be dropped. */
  toArray(): Uint32Array<ArrayBuffer> {
    return this.items.slice(0, this.length);
  }
}

/** Bytes, one after another. */
export class Bytes {
  length = 0;
  private items = new Uint8Array(1024);

  push(value: number): void {
    if (this.length === this.items.length) {
      const wider = new Uint8Array(this.items.length * 2);
      wider.set(this.items);
      this.items = wider;
    }
    this.items[this.length++] = value;
  }

  toArray(): Uint8Array<ArrayBuffer> {
    return this.items.slice(0, this.length);
  }
}
