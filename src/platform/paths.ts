/** Paths whose bytes need not be UTF-8: as strings inside, as bytes for the kernel. */

/** A byte that is not UTF-8, as `fileName` writes it. */
const ESCAPED = /[\udc80-\udcff]/u;

/** What node:fs is to be given for a path from `fileName`. */
export function systemPath(path: string): string | Buffer {
  if (!ESCAPED.test(path)) return path;
  return Buffer.concat(
    Array.from(path, (char) =>
      ESCAPED.test(char) ? Buffer.of(char.charCodeAt(0) - 0xdc00) : Buffer.from(char),
    ),
  );
}

/** A path from `fileName` as people and programs read it, bytes that are no UTF-8 replaced by U+FFFD. */
export function shownPath(path: string): string {
  return ESCAPED.test(path) ? path.replaceAll(new RegExp(ESCAPED, "gu"), "\ufffd") : path;
}
