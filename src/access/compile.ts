/** From the bytes of a table to flat arrays: one pass, and no object for a rule that the index can hold. */
import type { Diagnostic, Source } from "./types.ts";
import { HostIndexBuilder } from "./host-index.ts";
import { LineReader, MAX_DIAGNOSTICS, MAX_LINE_BYTES } from "./lines.ts";
import { parseRule } from "./parse.ts";
import { parseClient, type HasInterface } from "./pattern.ts";
import type { Rule } from "./tables.ts";
import {
  HAS_OPTIONS,
  hasInterfaceOf,
  IS_JOINED,
  NO_GROUP,
  parseDaemons,
  type TableData,
} from "./table-data.ts";
import { Numbers } from "./growing.ts";
import { byteString, readable } from "./text.ts";

/** Hears of what rules name, while they are read. Columns are absent where a rule is more than one physical line. */
export interface Visitor {
  file(path: string, line: number, column: number | undefined): void;
  netgroup(): void;
  /** The options of a rule, a string of bytes. */
  options(text: string, line: number, column: number | undefined): void;
}

/** What a table came to. */
export interface CompiledTable {
  readonly data: TableData;
  readonly diagnostics: readonly Diagnostic[];
}

/** Groups at most: each is asked about on its own. Rules of further daemon lists are asked one by one. */
const MAX_GROUPS = 256;

/** Daemon lists that are looked for byte by byte, before any string is made. */
const USUAL = 8;

const NEWLINE = 10;
const BACKSLASH = 92;
const HASH = 35;
const COLON = 58;

/**
 * Reads a table. Never throws; linear in its bytes.
 *
 * A missing file is an empty table, and so is a directory, with a warning. One that cannot be read is broken from its first line on; one with a line beyond
 * all bounds is broken from there on. A line without colon is skipped with a warning. Source: hosts_access(5).
 */
export function compileTable(
  file: string,
  source: Source,
  visitor: Visitor,
  interfaces?: ReadonlySet<string>,
): CompiledTable {
  const bytes = source.kind === "text" ? source.bytes : new Uint8Array();
  const compiler = new TableCompiler(file, bytes, visitor, interfaces);
  if (source.kind === "directory") {
    const message = `${file} is a directory; it counts as an empty table`;
    const code = "table-is-directory";
    return { ...compiler.run(), diagnostics: [{ file, line: 0, severity: "warning", code, message }] };
  }
  if (source.kind !== "unreadable") return compiler.run();
  const message = `cannot open ${file}: ${source.reason}`;
  const broken: Diagnostic = { file, line: 0, severity: "error", code: "cannot-open", message };
  const { data } = compiler.run();
  return { data: { ...data, broken }, diagnostics: [broken] };
}

class TableCompiler {
  private readonly file: string;
  private readonly bytes: Uint8Array;
  private readonly visitor: Visitor;
  private readonly interfaces: ReadonlySet<string> | undefined;
  private readonly hasInterface: HasInterface;
  private readonly hosts: HostIndexBuilder;
  private readonly places = new Numbers();
  private readonly scanned = new Numbers();
  private readonly scannedGroups = new Numbers();
  private readonly groups: string[] = [];
  private readonly groupOf = new Map<string, number>();
  private readonly withoutColon: Diagnostic[] = [];
  /** Daemon lists that were met first: most rules repeat one of them. */
  private readonly usual: { readonly daemons: Uint8Array; readonly group: number }[] = [];

  constructor(
    file: string,
    bytes: Uint8Array,
    visitor: Visitor,
    interfaces: ReadonlySet<string> | undefined,
  ) {
    this.file = file;
    // A view of the plain kind: cutting pieces off a Buffer costs several times as much.
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.visitor = visitor;
    this.interfaces = interfaces;
    this.hasInterface = hasInterfaceOf(interfaces);
    const parse = (word: string) => {
      const { host, user } = parseClient(word, this.hasInterface);
      return user === undefined ? host : undefined;
    };
    this.hosts = new HostIndexBuilder(parse, this.hasInterface);
  }

  run(): CompiledTable {
    const reader = new LineReader(this.file, this.bytes);
    this.readAll(reader);
    const tooLong = reader.diagnostics.find(({ code }) => code === "line-too-long");
    const data = {
      file: this.file,
      bytes: this.bytes,
      places: this.places.toArray(),
      groups: this.groups,
      hosts: this.hosts.build(),
      scanned: this.scanned.toArray(),
      scannedGroups: this.scannedGroups.toArray(),
      ...(this.interfaces && { interfaces: this.interfaces }),
      ...(tooLong && { broken: tooLong }),
    };
    return { data, diagnostics: [...reader.diagnostics, ...this.withoutColon] };
  }

  /** Plain physical lines are read where they stand; the reader takes those that are joined, cut, or without an end. */
  private readAll(reader: LineReader): void {
    const { bytes } = this;
    let nul = bytes.indexOf(0);
    while (reader.at < bytes.length) {
      const start = reader.at;
      const end = bytes.indexOf(NEWLINE, start);
      if (nul >= 0 && nul < start) nul = bytes.indexOf(0, start);
      const isPlain =
        end >= 0 && (nul < 0 || nul > end) && bytes[end - 1] !== BACKSLASH && end - start <= MAX_LINE_BYTES;
      const before = reader.line;
      if (isPlain) {
        reader.at = end + 1;
        reader.line++;
        this.readLine(bytes, start, end, { start, before, line: reader.line });
        continue;
      }
      const text = reader.logicalLine();
      if (text === undefined) continue;
      this.readLine(toBytes(text), 0, text.length, { start, before, line: reader.line });
    }
  }

  private readLine(
    bytes: Uint8Array,
    from: number,
    to: number,
    place: { start: number; before: number; line: number },
  ): void {
    if (bytes[from] === HASH || isBlank(bytes, from, to)) return;
    const first = colonOutsideBrackets(bytes, from, to);
    if (first < 0) {
      this.noteMissingColon(
        byteString(bytes, from, Math.min(to, from + 61)),
        place.line,
        bytes === this.bytes,
      );
      return;
    }
    const second = colonOutsideBrackets(bytes, first + 1, to);
    const rank = this.places.length / 2;
    this.places.push(place.start);
    this.places.push(
      place.before * 4 + (second < 0 ? 0 : HAS_OPTIONS) + (bytes === this.bytes ? 0 : IS_JOINED),
    );
    const group = this.groupOfDaemons(bytes, from, first);
    const isHeld =
      group !== NO_GROUP && this.addClients(bytes, first + 1, second < 0 ? to : second, rank, group);
    if (!isHeld) {
      this.scanned.push(rank);
      this.scannedGroups.push(group);
      const rule = parseRule({ text: byteString(bytes, from, to), line: place.line }, this.hasInterface);
      if (rule !== undefined) this.visitHosts(rule, bytes === this.bytes);
    }
    if (second < 0) return;
    const column = bytes === this.bytes ? second + 2 - from : undefined;
    this.visitor.options(byteString(bytes, second + 1, to), place.line, column);
  }

  private groupOfDaemons(bytes: Uint8Array, from: number, to: number): number {
    for (const { daemons, group } of this.usual) if (isSameBytes(daemons, bytes, from, to)) return group;
    const text = byteString(bytes, from, to);
    const group = this.groupOf.get(text) ?? this.openGroup(text);
    if (this.usual.length < USUAL) this.usual.push({ daemons: bytes.slice(from, to), group });
    return group;
  }

  private openGroup(text: string): number {
    if (this.groups.length === MAX_GROUPS) return NO_GROUP;
    const asksServer = parseDaemons(text, this.hasInterface).some((part) =>
      part.some(({ server }) => server !== undefined),
    );
    const group = asksServer ? NO_GROUP : this.groups.length;
    if (!asksServer) {
      this.groups.push(text);
      this.hosts.addGroup();
    }
    if (this.groupOf.size < MAX_GROUPS * 4) this.groupOf.set(text, group);
    return group;
  }

  /** False where some word of the list is one that the index cannot hold; then it holds none of them. */
  private addClients(bytes: Uint8Array, from: number, to: number, rank: number, group: number): boolean {
    const mark = this.hosts.mark(group);
    for (let at = from; at < to; at++) {
      if (isSeparator(bytes[at] ?? 0)) continue;
      let end = at;
      while (end < to && !isSeparator(bytes[end] ?? 0)) end++;
      if (isExcept(bytes, at, end) || !this.hosts.add(bytes, at, end, rank, group)) {
        this.hosts.cutBack(mark, group);
        return false;
      }
      at = end;
    }
    return true;
  }

  private visitHosts({ daemons, clients, line, text }: Rule, isPlain: boolean): void {
    const servers = daemons.flatMap((part) => part.flatMap(({ server }) => server ?? []));
    for (const host of [...servers, ...clients.flatMap((part) => part.map((client) => client.host))]) {
      if (host.kind === "file")
        this.visitor.file(host.path, line, isPlain ? text.indexOf(host.path) + 1 : undefined);
      if (host.kind === "netgroup") this.visitor.netgroup();
    }
  }

  private noteMissingColon(start: string, line: number, isPlain: boolean): void {
    if (this.withoutColon.length >= MAX_DIAGNOSTICS) return;
    const excerpt = readable(start.length > 60 ? `${start.slice(0, 60)}...` : start);
    this.withoutColon.push({
      file: this.file,
      line,
      ...(isPlain && { column: 1 }),
      severity: "warning",
      code: "missing-colon",
      message: `missing ":" separator in "${excerpt}"; the line is skipped`,
      hint: "write DAEMONS : CLIENTS",
    });
  }
}

/** Where the first colon outside brackets stands; -1 if nowhere. Depth counts from zero at `from`. */
function colonOutsideBrackets(bytes: Uint8Array, from: number, to: number): number {
  let depth = 0;
  for (let at = from; at < to; at++) {
    const code = bytes[at];
    if (code === COLON && depth === 0) return at;
    if (code === 91) depth++;
    else if (code === 93) depth--;
  }
  return -1;
}

/** Blank is space, tab, CR and LF only; a form feed is text. */
function isBlank(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    const code = bytes[at];
    if (code !== 32 && code !== 9 && code !== 13 && code !== NEWLINE) return false;
  }
  return true;
}

/** Between the words of a list. */
function isSeparator(code: number): boolean {
  return code === 32 || code === 44 || code === 9 || code === 13 || code === NEWLINE;
}

function isExcept(bytes: Uint8Array, from: number, to: number): boolean {
  return to - from === 6 && byteString(bytes, from, to).toUpperCase() === "EXCEPT";
}

function isSameBytes(known: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (known.length !== to - from) return false;
  for (let at = from; at < to; at++) if (known[at - from] !== bytes[at]) return false;
  return true;
}

function toBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
