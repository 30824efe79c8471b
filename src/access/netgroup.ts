/** Netgroups: groups of hosts by the file netgroup(5). */
import { isSpace, lowerCase } from "./text.ts";

/** The members of each group: host names (lower case, "" = every host) and other groups. */
export type Netgroups = ReadonlyMap<string, Netgroup>;

/** One group. */
export interface Netgroup {
  readonly hosts: ReadonlySet<string>;
  readonly groups: readonly string[];
}

/**
 * Reads the text of /etc/netgroup as the C library does. The first line of a name counts; a line goes on after a backslash.
 *
 * @param text a string of bytes
 * @param domain the NIS domain of this machine: triples of another one do not count; absent = there is none, and all of them do
 */
export function parseNetgroups(text: string, domain?: string): Netgroups {
  const groups = new Map<string, Netgroup>();
  for (const line of text.replaceAll("\\\n", " ").split("\n")) {
    const name = wordAt(line, 0);
    if (name !== "" && !groups.has(name)) groups.set(name, parseMembers(line, name.length, domain));
  }
  return groups;
}

/**
 * Is the host in the group, whatever the user? A triple without host holds every host, unknown ones too.
 *
 * @param host lower case
 */
export function isInNetgroup(netgroups: Netgroups, group: string, host: string): boolean {
  const seen = new Set([group]);
  // A set that grows while it is walked: each group once, however the groups name each other.
  for (const name of seen) {
    const members = netgroups.get(name);
    if (members === undefined) continue;
    if (members.hosts.has("") || members.hosts.has(host)) return true;
    for (const inner of members.groups) seen.add(inner);
  }
  return false;
}

/** Triples and the names of other groups; what begins like a triple and is none ends the line. */
function parseMembers(line: string, from: number, domain: string | undefined): Netgroup {
  const hosts = new Set<string>();
  const groups: string[] = [];
  for (let at = behindBlanks(line, from); at < line.length; at = behindBlanks(line, at)) {
    if (line[at] !== "(") {
      // A bracket inside it is part of the name: "inner(a.test,,)" is no triple.
      const group = wordAt(line, at);
      groups.push(group);
      at += group.length;
      continue;
    }
    const hostEnd = line.indexOf(",", at);
    const userEnd = hostEnd < 0 ? -1 : line.indexOf(",", hostEnd + 1);
    const end = userEnd < 0 ? -1 : line.indexOf(")", userEnd + 1);
    if (end < 0) break;
    const within = field(line, userEnd + 1, end);
    if (domain === undefined || within === "" || within === lowerCase(domain))
      hosts.add(field(line, at + 1, hostEnd));
    at = end + 1;
  }
  return { hosts, groups };
}

/** A field of a triple: its first word in lower case, "" where it has none. */
function field(line: string, from: number, end: number): string {
  const text = line.slice(from, end);
  return lowerCase(wordAt(text, behindBlanks(text, 0)));
}

/** Up to the next white space. */
function wordAt(text: string, from: number): string {
  let end = from;
  while (end < text.length && !isSpace(text.charCodeAt(end))) end++;
  return text.slice(from, end);
}

function behindBlanks(text: string, from: number): number {
  let at = from;
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}
