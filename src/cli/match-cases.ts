/** Reads the two arguments of `match` as tcpdmatch does; a host name with several addresses makes several questions. */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { cutFact } from "../access/text.ts";
import type { Endpoint, Request } from "../access/types.ts";

/** What the words on the command line mean, or why they mean nothing; the error is one line for the user. */
export type MatchCases = readonly Request[] | { readonly error: string };

/**
 * The questions that `DAEMON[@SERVER]` and `[USER@]CLIENT` ask.
 *
 * @param mayResolve false: a name is taken as it is, its address stays unknown
 *
 * Source: tcpdmatch(8). Unlike there, the name of a numeric client is looked up when a rule needs it, as the daemon does.
 */
export async function matchCases(
  daemonArgument: string,
  clientArgument: string,
  mayResolve: boolean,
): Promise<MatchCases> {
  const [, daemonText = "", serverText] = /^(.[^@]*)(?:@(.*))?$/s.exec(daemonArgument) ?? [];
  const [, userText, clientText = ""] = /^(?:(.+)@)?([^@]*)$/s.exec(clientArgument) ?? [];
  const daemon = cutFact(daemonText.slice(daemonText.lastIndexOf("/") + 1));
  if (daemon === "")
    return { error: `"${daemonArgument}" names no daemon; write for example sshd or sshd@192.0.2.1` };
  if (clientText === "") {
    return { error: `"${clientArgument}" names no client; write an address, a name, or USER@ADDRESS` };
  }
  const servers = serverText === undefined ? [nobody] : await endpoints(serverText, mayResolve);
  if ("error" in servers) return servers;
  const [server] = servers;
  if (server === undefined || servers.length > 1) {
    return { error: `${serverText ?? ""} has more than one address; specify an address instead` };
  }
  const clients = await endpoints(clientText, mayResolve);
  if ("error" in clients) return clients;
  return clients.map((client) => ({ daemon, client, server, user: cutFact(userText ?? "unknown") }));
}

const nobody: Endpoint = { address: "unknown", name: "unknown" };

async function endpoints(
  text: string,
  mayResolve: boolean,
): Promise<readonly Endpoint[] | { readonly error: string }> {
  const address = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  if (isIP(address) !== 0) return [{ address: address.toLowerCase() }];
  const name = text.toLowerCase().replace(/\.$/, "");
  if (name === "unknown" || name === "paranoid" || !mayResolve)
    return [{ address: "unknown", name: cutFact(name) }];
  try {
    const found = await lookup(name, { all: true });
    return [...new Set(found.map((each) => each.address))].map((each) => ({ address: each }));
  } catch {
    return { error: `no address found for "${text}"; check the name, or take it as it is with --no-resolve` };
  }
}
