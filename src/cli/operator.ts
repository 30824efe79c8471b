/** Finds the ssh session of whoever runs a command, and the client that is behind it. */

import { askDaemon, NoDaemon } from "../control/client.ts";
import { type Address, parseAddress, scopeOf } from "../identify/addresses.ts";
import type { OpenSession } from "../record/entry.ts";
import type { Io } from "./io.ts";

/** An ssh connection as sshd sees it. */
export interface SshConnection {
  readonly client: Address;
  readonly clientPort: number;
  /** sshd's client is this machine: an `ssh localhost`, or a relay that stands before sshd. */
  readonly isLocal: boolean;
}

/**
 * The ssh connection that this command was typed into, by SSH_CONNECTION of ssh(1). sudo(8) and su(1) take the variable away from
 * what they start, but not from the shell that has started them.
 *
 * @returns undefined where there is none, or sshd does not know its client
 */
export function sshConnection({ environment, ancestors }: Io): SshConnection | undefined {
  let text = environment["SSH_CONNECTION"];
  for (const each of text === undefined ? (ancestors?.() ?? []) : []) {
    text = each.get("SSH_CONNECTION");
    if (text !== undefined) break;
  }
  const [clientText = "", clientPort = "", server = ""] = (text ?? "").split(" ");
  const client = parseAddress(clientText);
  if (client === undefined) return undefined;
  const isLocal = scopeOf(client) === "loopback" || client.text === parseAddress(server)?.text;
  return { client, clientPort: Number(clientPort), isLocal };
}

/**
 * The client of the relayed session whose other end sshd takes for its client.
 *
 * @param socket the control socket of the daemon that is asked
 * @returns its address in canonical text; undefined where no daemon answers, or none of its sessions is this one
 */
export async function clientBehind(
  { client, clientPort }: SshConnection,
  socket: string,
): Promise<string | undefined> {
  try {
    const { status, body } = await askDaemon(socket, "GET", "/v1/sessions");
    if (status !== 200) return undefined;
    const { sessions } = body as { readonly sessions: readonly OpenSession[] };
    return sessions.find(({ backendFrom }) => backendFrom?.port === clientPort && isSame(backendFrom, client))
      ?.client.address;
  } catch (cause) {
    if (cause instanceof NoDaemon) return undefined;
    throw cause;
  }
}

function isSame(end: { readonly address: string }, { text }: Address): boolean {
  return parseAddress(end.address)?.text === text;
}
