/** UDP clients and backends for tests: small, on loopback, ended with their test. */

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import type { TestContext } from "node:test";

/** A datagram that came in. */
export interface Heard {
  readonly text: string;
  readonly port: number;
  readonly address: string;
}

/** A bound socket; port 0 takes a free one. */
export async function openUdp(t: TestContext, address = "127.0.0.1", port = 0): Promise<Socket> {
  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4").bind(port, address);
  await once(socket, "listening");
  t.after(() => {
    try {
      socket.close();
    } catch {
      // The test has closed it.
    }
  });
  return socket;
}

/** The next datagram. */
export async function heard(socket: Socket): Promise<Heard> {
  const [datagram, { port, address }] = (await once(socket, "message")) as [
    Buffer,
    { port: number; address: string },
  ];
  return { text: datagram.toString("latin1"), port, address };
}

/** Sends one datagram and gives the answer to it. */
export async function askUdp(
  socket: Socket,
  text: string,
  port: number,
  address = "127.0.0.1",
): Promise<Heard> {
  const answer = heard(socket);
  socket.send(text, port, address);
  return await answer;
}

/** A backend that answers each datagram with "re:" and its text, and notes what came; `address` is what a configuration says. */
export async function startUdpBackend(
  t: TestContext,
): Promise<{ readonly address: string; readonly socket: Socket; readonly texts: string[] }> {
  const socket = await openUdp(t);
  const texts: string[] = [];
  socket.on("message", (datagram, from) => {
    texts.push(datagram.toString("latin1"));
    socket.send(`re:${datagram.toString("latin1")}`, from.port, from.address);
  });
  return { address: `udp:127.0.0.1:${socket.address().port}`, socket, texts };
}
