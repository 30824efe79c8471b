/** Asks the client's host who owns the connection, and trusts nothing of the answer (RFC 1413). */

import { connect } from "node:net";
import type { Endpoint } from "../access/types.ts";
import { parseAddress } from "./addresses.ts";

/** One question: whose connection is this? */
export interface IdentQuestion {
  readonly client: Endpoint;
  readonly server: Endpoint;
  /** The ident service's port; 113 but in tests. */
  readonly port: number;
  /** Ends the query at any point. */
  readonly signal: AbortSignal;
}

/** A connection's ports, as the reply must name them: the client's first. */
export interface PortPair {
  readonly client: number;
  readonly server: number;
}

/** libwrap's line buffer holds 512 bytes with the final NUL; of a longer line the beginning counts. */
export const maxReplyBytes = 511;
const maxUserBytes = 127;

/**
 * Asks the client's host for the user behind a connection, from the local address that the client reached: the host there
 * answers only about connections between the same two addresses.
 *
 * @returns the user, by the rules of `parseIdentReply`; "unknown" where the host cannot be asked or does not answer in time
 *
 * Never rejects. Behind a PROXY header the announced server address is seldom ours: then the kernel refuses to speak from it
 * and the user is unknown, and no bystander is asked about a connection that it does not have.
 * A connection to the ident service itself is never asked about: two hosts that do so would ask each other for ever, which
 * tcpd leaves to the administrator (RFC 1413 §4; hosts_access(5) CLIENT USERNAME LOOKUP).
 */
export async function askIdent({ client, server, port, signal }: IdentQuestion): Promise<string> {
  const [from, to] = [parseAddress(server.address), parseAddress(client.address)];
  if (from === undefined || to === undefined || from.family !== to.family) return unknown;
  if (client.port === undefined || server.port === undefined || server.port === port) return unknown;
  if (signal.aborted) return unknown;
  const ports: PortPair = { client: client.port, server: server.port };
  const line = await firstLine({ host: textOf(to), localAddress: textOf(from), port }, ports, signal);
  return line === undefined ? unknown : parseIdentReply(line, ports);
}

/**
 * Reads the first line of a reply: `PORT , PORT : USERID : OPSYS : USER`. Blanks may stand around ports and words, the word
 * USERID is case-sensitive, OPSYS is not empty; USER is the first run without blanks, cut to what libwrap keeps.
 *
 * @param line without its end of line; anything at all
 * @returns "unknown" for every other reply, for other ports, and for a user with bytes other than letters, digits, "-", "_"
 *   and ".": tcpd hands such bytes on, to the log, to rules and to a shell
 *
 * Never throws.
 */
export function parseIdentReply(line: string, ports: PortPair): string {
  const blank = "[ \\t\\v\\f\\r]*";
  const words = new RegExp(
    `^${blank}([+]?[0-9]+)${blank},${blank}([+]?[0-9]+)${blank}:${blank}USERID${blank}:[^:]+:${blank}([^ \\t\\v\\f\\r]+)`,
  ).exec(line.slice(0, maxReplyBytes));
  if (words === null) return unknown;
  const [, clientPort, serverPort, user = ""] = words;
  if (Number(clientPort) !== ports.client || Number(serverPort) !== ports.server) return unknown;
  const kept = user.slice(0, maxUserBytes);
  return /^[A-Za-z0-9._-]+$/.test(kept) ? kept : unknown;
}

const unknown = "unknown";

function textOf({ text, zone }: { text: string; zone?: string }): string {
  return zone === undefined ? text : `${text}%${zone}`;
}

/** The reply up to its first LF, or the beginning of an over-long one; undefined when it ends before that. */
function firstLine(
  to: { readonly host: string; readonly localAddress: string; readonly port: number },
  ports: PortPair,
  signal: AbortSignal,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(to);
    let heard = "";
    const end = (line?: string): void => {
      signal.removeEventListener("abort", stop);
      socket.destroy();
      resolve(line);
    };
    const stop = (): void => end();
    signal.addEventListener("abort", stop, { once: true });
    socket.on("connect", () => socket.write(`${ports.client},${ports.server}\r\n`));
    socket.on("data", (chunk: Buffer) => {
      heard += chunk.toString("latin1", 0, maxReplyBytes - heard.length);
      const lineEnd = heard.indexOf("\n");
      if (lineEnd >= 0) end(heard.slice(0, lineEnd));
      else if (heard.length >= maxReplyBytes) end(heard);
    });
    // Refused, unreachable, no such local address, reset: all of them are "unknown" to the rules.
    socket.on("error", stop);
    socket.on("close", stop);
  });
}
