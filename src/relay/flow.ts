/** One direction of a fast relay: read into a buffer, write it, and read again only when the write is finished. */

import type { Handle, HandleAccess, Waiter } from "../platform/node-handle.ts";
import { type Swept, sweepEverySecond, sweepNoMore } from "../platform/sweep.ts";
import { type BufferPool, modestLevel, topLevel } from "./buffers.ts";
import type { End, Reader } from "./ends.ts";

/** The session of a flow: what it hears. An object and no functions, since a short session would make more of those than it calls. */
export interface FlowSession {
  /** Bytes have moved. */
  moved(): void;
  /** The source is at its end and everything has been written. */
  ended(from: End, to: End): void;
  /** The destination cannot be written to; a negative error number. */
  failed(to: End, status: number): void;
  /** For a second or more the destination has taken nothing of a write, and so nobody has read the source; each second anew. */
  stalled(from: End): void;
}

/** A buffer that has had so many reads in a row of an eighth of its size gives way to the next smaller one. */
const smallReadsToShrink = 32;

/** Replacing a buffer between reads leaves something with the handle; a session that rests more often keeps its buffer. */
const maxReplacements = 10_000;

export class Flow implements Reader, Waiter, Swept {
  readonly #access: HandleAccess;
  readonly #pool: BufferPool;
  readonly #from: End;
  readonly #to: End;
  readonly #fromHandle: Handle;
  readonly #toHandle: Handle;
  readonly #session: FlowSession;
  #level = 0;
  #smallReads = 0;
  #replacements = 0;
  #readsSinceSweep = 0;
  /** Length of the unfinished write; 0 = none. */
  #pendingBytes = 0;
  /** What was left of it when last looked at. */
  #leftBefore = 0;
  /** It is a second old or more. */
  #isSlow = false;
  #stopped = false;
  #atEnd = false;
  /** Where the next read goes. */
  buffer: Uint8Array;
  /** Bytes that the destination's socket has taken. */
  bytes = 0;
  /** The end of the source has been passed on. */
  isFinished = false;

  constructor(access: HandleAccess, pool: BufferPool, from: End, to: End, session: FlowSession) {
    this.#access = access;
    this.#pool = pool;
    this.#from = from;
    this.#to = to;
    this.#fromHandle = from.handle;
    this.#toHandle = to.handle;
    this.#session = session;
    this.buffer = pool.take(0);
  }

  start(): void {
    this.#from.read(this);
    if (this.#atEnd) return;
    const early = this.#from.takeEarly();
    if (early !== undefined && early.length > 0 && !this.#write(early)) {
      this.#fromHandle.reading = false;
      this.#fromHandle.readStop();
    } else if (!this.#fromHandle.reading && !this.#stopped) {
      this.#resume();
    }
  }

  /** Moves nothing more. Counts what the kernel has taken of an unfinished write; call it before the handle is closed. */
  stop(): void {
    if (this.#stopped) return;
    this.bytes = this.moved();
    this.#stopped = true;
  }

  /** Bytes that the destination's socket has taken, what it has of an unfinished write included. */
  moved(): number {
    if (this.#pendingBytes === 0 || this.#stopped) return this.bytes;
    return this.bytes + this.#pendingBytes - Math.min(this.#pendingBytes, this.#left());
  }

  get isWriting(): boolean {
    return this.#pendingBytes > 0;
  }

  /** Gives the buffer back, when both sockets are closed and no write can be unfinished. */
  close(): void {
    this.#stopped = true;
    sweepNoMore(this);
    this.#pool.give(this.#level, this.buffer);
  }

  /** Whether the kernel has taken a part of an unfinished write since this was last asked. */
  hasProgressed(): boolean {
    if (this.#pendingBytes === 0) return false;
    const left = this.#left();
    const progressed = left < this.#leftBefore;
    this.#leftBefore = left;
    return progressed;
  }

  /** Called while the buffer is a large one or a write is unfinished. A session at rest goes back to the smallest buffer. */
  sweep(): void {
    const hasRead = this.#readsSinceSweep > 0;
    this.#readsSinceSweep = 0;
    if (this.#stopped) return;
    if (this.#pendingBytes > 0) this.#lookAtWrite(hasRead);
    else if (this.#level === 0) sweepNoMore(this);
    else if (!hasRead) this.#replaceBuffer(0);
  }

  /** @param hasRead within the last second, so that the write is younger */
  #lookAtWrite(hasRead: boolean): void {
    const hasProgressed = this.hasProgressed();
    if (hasProgressed) this.#session.moved();
    if (hasRead) return;
    this.#isSlow = true;
    if (!hasProgressed) this.#session.stalled(this.#from);
  }

  read(bytesRead: number): boolean {
    if (this.#stopped) return false;
    const buffer = this.buffer;
    const isFull = bytesRead === buffer.length;
    this.#readsSinceSweep += 1;
    if (!this.#write(isFull ? buffer : new Uint8Array(buffer.buffer, buffer.byteOffset, bytesRead)))
      return false;
    if (isFull) {
      this.#smallReads = 0;
      if (this.#level < topLevel) this.#grow();
    } else if (this.#level > 0) {
      this.#smallReads = bytesRead * 8 < buffer.length ? this.#smallReads + 1 : 0;
      if (this.#smallReads >= smallReadsToShrink) this.#shrink();
    }
    return true;
  }

  /** @returns false if the write is unfinished or has failed: do not read */
  #write(bytes: Uint8Array): boolean {
    const status = this.#access.write(this.#toHandle, bytes, this);
    if (status < 0) {
      this.#fail(status);
      return false;
    }
    this.#session.moved();
    if (status === 0) {
      this.bytes += bytes.length;
      return true;
    }
    this.#pendingBytes = bytes.length;
    this.#leftBefore = this.#left();
    sweepEverySecond(this);
    return false;
  }

  written(status: number): void {
    const bytes = this.#pendingBytes;
    this.#pendingBytes = 0;
    if (this.#stopped) return;
    if (status !== 0) {
      // libuv has forgotten what was left by now, so what was seen last has to do.
      this.bytes += bytes - Math.min(bytes, this.#leftBefore);
      this.#fail(status);
      return;
    }
    this.bytes += bytes;
    this.#session.moved();
    if (this.#isSlow) this.#giveWay();
    if (this.#atEnd) this.end();
    else this.#resume();
  }

  #resume(): void {
    this.#fromHandle.reading = true;
    const status = this.#fromHandle.readStart();
    if (status !== 0) this.#fail(status);
  }

  end(): void {
    this.#atEnd = true;
    if (this.#pendingBytes > 0 || this.#stopped || this.isFinished) return;
    this.isFinished = true;
    this.#session.ended(this.#from, this.#to);
  }

  #fail(status: number): void {
    this.stop();
    this.#session.failed(this.#to, status);
  }

  #left(): number {
    return this.#toHandle.writeQueueSize;
  }

  #grow(): void {
    const level = this.#level + 1;
    const buffer = this.#pool.take(level);
    if (buffer) this.#changeLevel(level, buffer);
  }

  #shrink(): void {
    const level = this.#level - 1;
    const buffer = this.#pool.take(level);
    if (buffer) this.#changeLevel(level, buffer);
    else this.#changeLevel(modestLevel, this.#pool.take(modestLevel));
  }

  /** Whose writes take so long leaves his large buffer to others, where there are not enough. */
  #giveWay(): void {
    this.#isSlow = false;
    if (this.#level > modestLevel && this.#pool.isShort) this.#replaceBuffer(modestLevel);
  }

  /** Between two reads. */
  #replaceBuffer(level: 0 | 1): void {
    if (this.#replacements >= maxReplacements) return;
    this.#replacements += 1;
    this.#changeLevel(level, this.#pool.take(level));
    this.#from.replaceBuffer(this.buffer);
  }

  /** Only while no write of the present buffer is unfinished. */
  #changeLevel(level: number, buffer: Uint8Array): void {
    this.#pool.give(this.#level, this.buffer);
    this.#level = level;
    this.buffer = buffer;
    this.#smallReads = 0;
    if (level > 0) sweepEverySecond(this);
    else sweepNoMore(this);
  }
}
