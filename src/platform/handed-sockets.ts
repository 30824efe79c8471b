/** Sends an accepted connection to another process of ours, unread; the one place that knows how Node keeps it. */

import { Socket } from "node:net";

/**
 * What `process.send` takes to give another process a copy of a connection. Sending the `Socket` itself would make the other side
 * read from it at once, and bytes that belong to the program that gets the connection would be lost.
 *
 * @returns undefined when the connection is closed
 */
export function sendableOf(connection: Socket): unknown {
  return (connection as unknown as { _handle?: object | null })._handle ?? undefined;
}

/** A socket that came from another process, still to be connected: nothing is read before that. Undefined when it is none. */
export function receivedUnconnected(handle: unknown): Socket | undefined {
  if (typeof handle !== "object" || handle === null) return undefined;
  return new Socket({
    handle,
    readable: true,
    writable: true,
    allowHalfOpen: true,
    manualStart: true,
  } as ConstructorParameters<typeof Socket>[0]).setNoDelay(true);
}

/** A connection that came from another process: nothing is read from it. Undefined when it is none. */
export function receivedConnection(handle: unknown): Socket | undefined {
  if (typeof handle !== "object" || handle === null) return undefined;
  // Not readable: a readable one would begin to read here.
  const connection = new Socket({ handle, readable: false, writable: true } as ConstructorParameters<
    typeof Socket
  >[0]);
  connection.on("error", () => undefined);
  return connection;
}
