/** From the bytes of a `/file` to flat arrays. */
import type { Visitor } from "./compile.ts";
import { hasInterfaceOf } from "./table-data.ts";
import { HostIndexBuilder, type HostIndex } from "./host-index.ts";
import { parseHost } from "./pattern.ts";
import { Numbers } from "./growing.ts";
import { byteString, isSpace } from "./text.ts";

/** A compiled `/file`. */
export interface ListData {
  readonly bytes: Uint8Array;
  /** Per word: where it begins. */
  readonly starts: Uint32Array<ArrayBuffer>;
  readonly interfaces?: ReadonlySet<string>;
  readonly hosts: HostIndex;
  /** Words that the index cannot hold, ascending. */
  readonly scanned: Uint32Array<ArrayBuffer>;
}

const NEWLINE = 10;

/** Reads the words of a `/file`: separated by white space, nothing else means anything. Never throws; linear. */
export function compileList(
  bytes: Uint8Array,
  visitor: Pick<Visitor, "file" | "netgroup">,
  interfaces?: ReadonlySet<string>,
): ListData {
  const hasInterface = hasInterfaceOf(interfaces);
  const hosts = new HostIndexBuilder(parseHost, hasInterface);
  hosts.addGroup();
  const starts = new Numbers();
  const scanned = new Numbers();
  let line = 1;
  let lineStart = 0;
  for (let at = 0; at < bytes.length; at++) {
    const code = bytes[at] ?? 0;
    if (isSpace(code)) {
      if (code !== NEWLINE) continue;
      line++;
      lineStart = at + 1;
      continue;
    }
    const end = endOfText(bytes, at);
    const rank = starts.length;
    starts.push(at);
    if (!hosts.add(bytes, at, end, rank, 0)) {
      scanned.push(rank);
      const pattern = parseHost(byteString(bytes, at, end), hasInterface);
      if (pattern.kind === "file") visitor.file(pattern.path, line, at - lineStart + 1);
      if (pattern.kind === "netgroup") visitor.netgroup();
    }
    // The word goes on behind a NUL byte, unread.
    for (at = end; at < bytes.length && !isSpace(bytes[at] ?? 0); at++);
    at--;
  }
  return {
    bytes,
    starts: starts.toArray(),
    hosts: hosts.build(),
    scanned: scanned.toArray(),
    ...(interfaces && { interfaces }),
  };
}

/** Where the text of the word that begins at `at` in a `/file` ends: at white space, or at a NUL byte as any text does for C. */
export function endOfText(bytes: Uint8Array, at: number): number {
  let end = at;
  while (end < bytes.length && bytes[end] !== 0 && !isSpace(bytes[end] ?? 0)) end++;
  return end;
}
