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
  #entries: Record<Family, Map<string, HostsEntry>> = { 4: new Map(), 6: new Map() };

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
    return this.#entries[family].get(name.toLowerCase());
  }

  #refresh(): void {
    if (this.#isFresh) return;
    this.#isFresh = true;
    setImmediate(() => (this.#isFresh = false)).unref();
    const stamp = stampOf(this.#path);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    this.#names = new Map();
    this.#entries = { 4: new Map(), 6: new Map() };
    let [text, places]: [string, readonly Address[]] = ["", []];
    for (const line of readLines(this.#path)) {
      const words = wordsOf(line);
      const [address, canonical] = words;
      if (address === undefined || canonical === undefined) continue;
      // Block lists give the same address on a hundred thousand lines.
      if (address !== text) [text, places] = [address, readings(address)];
      for (const place of places) this.#add(place, canonical, words);
    }
  }

  #add({ family, text }: Address, canonical: string, words: readonly string[]): void {
    if (!this.#names.has(text)) this.#names.set(text, canonical);
    const entries = this.#entries[family];
    for (let at = 1; at < words.length; at++) {
      const name = (words[at] ?? "").toLowerCase();
      const entry = entries.get(name);
      if (entry === undefined) entries.set(name, { canonical, addresses: [text] });
      else if (!entry.addresses.includes(text))
        entries.set(name, { ...entry, addresses: [...entry.addresses, text] });
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

/** The words before a comment, names without final dot. */
function wordsOf(line: string): readonly string[] {
  const comment = line.indexOf("#");
  const words = (comment < 0 ? line : line.slice(0, comment)).match(/[^ \t\r\v\f]+/g) ?? [];
  return words.map((word) => (word.endsWith(".") ? word.slice(0, -1) : word));
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
