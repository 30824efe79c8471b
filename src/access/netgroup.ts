/** Netgroups: groups of hosts by the file netgroup(5). */

/** The members of each group: host names (lower case, "" = every host) and other groups. */
export type Netgroups = ReadonlyMap<string, Netgroup>;

/** One group. */
export interface Netgroup {
  readonly hosts: ReadonlySet<string>;
  readonly groups: readonly string[];
}

/** Reads the text of /etc/netgroup. The first line of a name counts; a line goes on after a backslash. */
export function parseNetgroups(text: string): Netgroups {
  const groups = new Map<string, Netgroup>();
  for (const line of text.replaceAll("\\\n", " ").split("\n")) {
    const name = /^[^\s#]\S*/.exec(line)?.[0];
    if (name !== undefined && !groups.has(name)) groups.set(name, parseMembers(line.slice(name.length)));
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

function parseMembers(text: string): Netgroup {
  const hosts = new Set<string>();
  const groups: string[] = [];
  const member = /\(([^,()]*),([^,()]*),([^()]*)\)|([^\s()]+)|\(/g;
  for (const [whole, host, , , group] of text.matchAll(member)) {
    // An opening bracket that is no triple ends the line for the C library.
    if (whole === "(") break;
    if (group !== undefined) groups.push(group);
    else if (host !== undefined) hosts.add(host.trim().toLowerCase());
  }
  return { hosts, groups };
}
