/** From the bytes of a table to its logical lines. */
import type { Diagnostic } from "./types.ts";
import type { TableCode } from "./codes.ts";
import { byteString } from "./text.ts";

/** A logical line: continuation lines joined, without its final newline. */
export interface LogicalLine {
  /** A string of bytes; never blank, never a comment. */
  readonly text: string;
  /** Its last physical line, counted from 1, as tcpd counts (a line that a NUL byte has cut is not counted). */
  readonly line: number;
}

/** Bytes in one logical line at most. tcpd: 2046; the files of our day hold longer ones (difference 2). */
export const MAX_LINE_BYTES = 1 << 20;

/** Remarks on one file at most: binary junk must not fill the memory with them. */
export const MAX_DIAGNOSTICS = 1000;

const NEWLINE = 10;
const BACKSLASH = 92;
const HASH = 35;

/**
 * Walks over a table, a logical line at a time.
 *
 * A backslash right before a newline joins the next line, before comments are recognised; `#` starts a comment in
 * column 1 only; a NUL byte swallows the rest of its physical line and glues the next one on. A byte-order mark is
 * skipped (tcpd: part of the first daemon's name; difference 2). A last line without newline is a line like any other, with a
 * warning (tcpd: an error that denies everyone from hosts.deny; difference 1). Linear in the input. Source: hosts_access(5).
 */
export class LineReader {
  readonly diagnostics: Diagnostic[] = [];
  /** The table ends before its bytes do: a line was longer than we take. */
  isCutShort = false;
  /** Where the next physical line begins. */
  at: number;
  /** Physical lines so far. */
  line: number;
  private readonly file: string;
  private readonly bytes: Uint8Array;

  constructor(file: string, bytes: Uint8Array, at = 0, line = 0) {
    this.file = file;
    this.bytes = bytes;
    this.at = at;
    this.line = line;
    if (at === 0 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
      this.at = 3;
      const message = "the file begins with a byte-order mark; it is skipped";
      this.note({ line: 1, column: 1, severity: "warning", code: "byte-order-mark", message });
    }
  }

  /** The next line that is neither blank nor a comment; undefined at the end. */
  next(): LogicalLine | undefined {
    while (this.at < this.bytes.length) {
      const text = this.logicalLine();
      if (text === undefined) return undefined;
      if (text.charCodeAt(0) !== HASH && !isBlank(text)) return { text, line: this.line };
    }
    return undefined;
  }

  /** The next line, be it blank or a comment; "" at the end, undefined at a line that is too long. */
  logicalLine(): string | undefined {
    const { bytes } = this;
    const pieces: string[] = [];
    let length = 0;
    let lastStart = this.at;
    let hasNul = false;
    let isCounted = true;
    while (this.at < bytes.length) {
      const start = this.at;
      lastStart = start;
      const newline = bytes.indexOf(NEWLINE, start);
      const stop = newline < 0 ? bytes.length : newline;
      // A string ends at its first NUL for C, so the newline after it is not seen and the next line goes on here.
      const nul = bytes.subarray(start, stop).indexOf(0);
      let end = nul < 0 ? stop : start + nul;
      this.at = newline < 0 ? bytes.length : newline + 1;
      const isEnded = newline >= 0 && nul < 0;
      const isContinued = isEnded && bytes[end - 1] === BACKSLASH;
      if (isContinued) end--;
      if (isEnded) this.line++;
      isCounted = isEnded;
      length += end - start;
      if (length > MAX_LINE_BYTES) return this.cutShort(isEnded, end - start - (length - MAX_LINE_BYTES) + 1);
      if (end > start) pieces.push(byteString(bytes, start, end));
      if (nul >= 0 && !hasNul) {
        hasNul = true;
        const message = "NUL byte: the rest of this line is lost, and the next line is joined to it";
        this.note({
          line: this.line + 1,
          column: nul + 1,
          severity: "warning",
          code: "nul-byte",
          message,
        });
      }
      if (isEnded && !isContinued) return pieces.join("");
    }
    const text = pieces.join("");
    if (!isCounted) this.line++;
    if (text.charCodeAt(0) !== HASH && !isBlank(text)) {
      this.note({
        line: this.line,
        column: bytes.length - lastStart + 1,
        severity: "warning",
        code: "missing-newline",
        message: "the last line has no newline; it is taken as a line like any other",
        hint: "end the file with a newline: tcpd ignores this line, and in hosts.deny refuses everyone it reaches",
      });
    }
    return text;
  }

  private cutShort(isCounted: boolean, column: number): undefined {
    this.isCutShort = true;
    this.at = this.bytes.length;
    this.note({
      line: this.line + (isCounted ? 0 : 1),
      column,
      severity: "error",
      code: "line-too-long",
      message: `the line is longer than ${MAX_LINE_BYTES} bytes; this line and all after it are ignored`,
      hint: "split it into several rules, or name a /file with the patterns",
    });
  }

  private note(remark: Omit<Diagnostic, "file" | "code"> & { readonly code: TableCode }): void {
    if (this.diagnostics.length < MAX_DIAGNOSTICS) this.diagnostics.push({ file: this.file, ...remark });
  }
}

/** Blank is space, tab, CR and LF only; a form feed is text. */
function isBlank(text: string): boolean {
  return /^[ \t\r\n]*$/.test(text);
}
