/** One accepted connection on loopback, as the listener gives it: paused, half-open allowed. */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { TestContext } from "node:test";

/** The two ends of one connection. */
export interface Pair {
  /** Our end: paused, with an error listener. */
  readonly accepted: Socket;
  /** The far end. */
  readonly client: Socket;
}

/** Connects and accepts; both ends and the listener are closed after the test. */
export async function connectPair(t: TestContext, host = "127.0.0.1"): Promise<Pair> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen(0, host);
  await once(server, "listening");
  const accepting = once(server, "connection") as Promise<[Socket]>;
  const client = connect({ port: (server.address() as AddressInfo).port, host, allowHalfOpen: true });
  const [[accepted]] = await Promise.all([accepting, once(client, "connect")]);
  for (const end of [accepted, client]) end.on("error", () => {}); // who wants to know listens too
  t.after(() => {
    client.destroy();
    accepted.destroy();
    server.close();
  });
  return { accepted, client };
}

/** What the far end has seen: the bytes, and whether they ended by FIN ("end") or by RST ("reset"). */
export interface Seen {
  readonly text: string;
  readonly end: "end" | "reset";
}

/** Reads one end until it is over. */
export async function readToEnd(socket: Socket): Promise<Seen> {
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    text += chunk;
  });
  return await new Promise((resolve, reject) => {
    socket.once("end", () => resolve({ text, end: "end" }));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNRESET") resolve({ text, end: "reset" });
      else reject(error);
    });
  });
}
