/** An ident server that answers whatever a test wants, and tells what it was asked. */

import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:net";

export interface IdentServer {
  readonly port: number;
  /** Every query heard, with the addresses it came from and to. */
  readonly asked: { readonly query: string; readonly from: string; readonly to: string }[];
  readonly close: () => Promise<void>;
}

/**
 * Starts a server on a free port, or where it is told.
 *
 * @param answer gets the socket when a query has come; `ports` is the query without its end of line
 */
export async function startIdent(
  answer: (socket: Socket, ports: string) => void,
  host = "127.0.0.1",
  port = 0,
): Promise<IdentServer> {
  const sockets = new Set<Socket>();
  const asked: IdentServer["asked"] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.once("data", (query) => {
      asked.push({
        query: query.toString("latin1"),
        from: socket.remoteAddress ?? "gone",
        to: socket.localAddress ?? "gone",
      });
      answer(socket, query.toString("latin1").trimEnd());
    });
  });
  server.listen(port, host);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
