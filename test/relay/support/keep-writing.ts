/** A far end that sends without end. */

import { createHash, randomBytes } from "node:crypto";
import type { Socket } from "node:net";

/** Writes random blocks as fast as the socket takes them. */
export function keepWriting(socket: Socket): {
  stalled: Promise<void>;
  stopped: Promise<void>;
  bytes: () => number;
  digest: () => string;
  finish: () => void;
} {
  const block = randomBytes(65_536);
  const hash = createHash("sha256");
  let bytes = 0;
  let finished = false;
  let stallTimer: NodeJS.Timeout | undefined;
  const stopped = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const stalled = new Promise<void>((resolve) => {
    const write = (): void => {
      if (finished || socket.destroyed) return;
      bytes += block.length;
      hash.update(block);
      clearTimeout(stallTimer);
      // Stalled: the kernel has refused to take a block for a while.
      stallTimer = setTimeout(resolve, 250);
      socket.write(block, (error) => {
        if (!error) write();
      });
    };
    write();
  });
  void stopped.then(() => clearTimeout(stallTimer));
  return {
    stalled,
    stopped,
    bytes: () => bytes,
    digest: () => hash.digest("hex"),
    finish: () => {
      finished = true;
      clearTimeout(stallTimer);
      socket.end();
    },
  };
}
