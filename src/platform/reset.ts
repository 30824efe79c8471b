/** Ends a socket with a reset, whatever state it is in. */

import type { Socket } from "node:net";

/**
 * Resets a connection: the peer sees ECONNRESET, unsent bytes are dropped. A unix socket has no reset and is closed.
 *
 * While a shutdown is under way libuv refuses the reset (EINVAL) and Node then forgets the descriptor without closing
 * it; so the reset waits for the shutdown, which takes one turn of the loop when no write is pending.
 */
export function reset(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0) {
    socket.once("finish", () => reset(socket));
    return;
  }
  try {
    socket.resetAndDestroy();
  } catch {
    // ERR_INVALID_HANDLE_TYPE: not TCP.
    socket.destroy();
  }
}
