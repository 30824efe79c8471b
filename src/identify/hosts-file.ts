/** The hosts file, both ways: the name of an address, and the addresses of a name. */

import { readFileSync, statSync } from "node:fs";
import type { Address, Family } from "./addresses.ts";
import { parseAddress } from "./addresses.ts";

/** What the hosts file says about a name in one family. */
export interface HostsEntry {
  /** The first name on the first line that has the name asked for; the others are its aliases. */
  readonly canonical: string;
  /** Canonical text, in the order of the file; never empty. */
  readonly addresses: readonly string[];
}

/**
 * A hosts file that is read again when it has changed. A stat(2) before the first question of each turn of the event loop
 * tells: what is asked after an edit is answered by the edited file, a burst of questions costs one call, and no watch can go
 * blind on a rename.
 *
 * A missing or unreadable file reads as empty, as it does for the C library. Source: hosts(5), nsswitch.conf(5) "files".
 */
export class HostsFile {
  readonly #path: string;
  #stamp = "never";
  #isFresh = false;
  #names = new Map<string, string>();
  #entries = new Map<string, { canonical: string; addresses: string[] }>();

  /** @param path "" for no hosts file at all */
  constructor(path: string) {
    this.#path = path;
  }

  /** Changes whenever the file does, so that answers made from an older one can be dropped. */
  stamp(): string {
    this.#refresh();
    return this.#stamp;
  }

  /** The first name on the first line for this address, without final dot; the zone does not count. */
  nameOf(address: Address): string | undefined {
    this.#refresh();
    return this.#names.get(address.text);
  }

  /** Every address of one family that a line gives to this name, be it the first name on it or an alias. */
  addressesOf(name: string, family: Family): HostsEntry | undefined {
    this.#refresh();
    return this.#entries.get(`${family} ${name.toLowerCase()}`);
  }

  #refresh(): void {
    if (this.#isFresh) return;
    this.#isFresh = true;
    setImmediate(() => (this.#isFresh = false)).unref();
    const stamp = stampOf(this.#path);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    this.#names = new Map();
    this.#entries = new Map();
    for (const line of readLines(this.#path)) this.#add(line);
  }

  #add(line: string): void {
    const [address = "", ...texts] = line.replace(/#.*/, "").trim().split(/\s+/);
    const names = texts.map((text) => text.replace(/\.$/, ""));
    const canonical = names[0];
    if (canonical === undefined) return;
    for (const { family, text } of readings(address)) {
      if (!this.#names.has(text)) this.#names.set(text, canonical);
      for (const name of new Set(names.map((each) => each.toLowerCase()))) {
        const key = `${family} ${name}`;
        const entry = this.#entries.get(key);
        if (entry === undefined) this.#entries.set(key, { canonical, addresses: [text] });
        else if (!entry.addresses.includes(text)) entry.addresses.push(text);
      }
    }
  }
}

/** Larger files are somebody's block list; nobody needs their names, and a stat must not end in a long stall. */
const maxBytes = 8 * 1024 * 1024;

/**
 * A line counts for the family of its address. Where IPv4 is asked for, the C library also reads "::1" as 127.0.0.1, and
 * IPv4-mapped text as the IPv4 address. Lines with a zone are no lines to it. Source: glibc nss/nss_files/files-hosts.c.
 */
function readings(text: string): readonly Address[] {
  const address = parseAddress(text);
  if (address === undefined || address.zone !== undefined) return [];
  return address.text === "::1" ? [address, { family: 4, text: "127.0.0.1" }] : [address];
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch {
    return []; // missing or unreadable: no names, as gethostbyaddr(3) has it
  }
}

function stampOf(path: string): string {
  if (path === "") return "none";
  try {
    const stat = statSync(path, { bigint: true });
    if (!stat.isFile() || stat.size > maxBytes) return "none";
    return `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
  } catch {
    return "none"; // missing, or a loop of links, or nobody may look
  }
}
