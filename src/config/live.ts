/** Keeps the tables in force equal to the files: every edit counts for the next connection, and no half-written file ever does. */

import { setTimeout as pause } from "node:timers/promises";
import { isGrave } from "../access/codes.ts";
import type { Tables } from "../access/tables.ts";
import type { Diagnostic, Source } from "../access/types.ts";
import { interfaceNames } from "../platform/interfaces.ts";
import { ageMs, isSameState, look, type Looked, readTail, readWhole } from "./files.ts";
import { type BackgroundOptions, loadTablesInBackground } from "./load-background.ts";
import { type Loaded, type LoadOptions, loadTables, MAX_FILE_BYTES } from "./load.ts";
import { findWriters, isAboutWriters } from "./writers.ts";
import { quietNeededMs, quietNeededUnreadMs, racyMs } from "./settle.ts";

/** Both tables of one moment. One decision sees one generation. */
export interface Generation {
  /** Counted from 1. */
  readonly number: number;
  readonly tables: Tables;
  readonly allowRules: number;
  readonly denyRules: number;
  readonly diagnostics: readonly Diagnostic[];
}

/** What happened to the tables: a new generation is in force, or the old one stays because `kept` says so. */
export interface TablesChange {
  readonly generation: Generation;
  readonly kept?: Diagnostic;
  /** With `kept`: what is wrong with the tables that were not taken (`access.strict`). */
  readonly refused?: readonly Diagnostic[];
  /** A table that could not be read is again what it was: the generation in force is that of the files. */
  readonly isBack?: true;
}

export interface LiveTablesOptions {
  readonly allow: string;
  readonly deny: string;
  readonly noMatch: LoadOptions["noMatch"];
  /** A table that disappears while we run: read as empty (tcpd), or the old rules stay. */
  readonly missing: "empty" | "keep";
  /**
   * What is known for reading tables critically: those that are dangerous then, or have a dead rule, are not taken and the old ones
   * stay; where there are none yet, everybody is refused. Absent = tables are taken as they are (tcpd).
   */
  readonly strict?: NonNullable<BackgroundOptions["criticism"]> | undefined;
  /** Tables whose text was given to us, by the name that stands in place of a path. */
  readonly inline?: ReadonlyMap<string, string>;
  readonly onChange: (change: TablesChange) => void;
  /** The number of the first generation; absent = 1. */
  readonly firstNumber?: number;
  /** How often the files are looked at when no connection comes; milliseconds. */
  readonly pollMs?: number;
}

/** Files beyond this together are loaded beside the decisions, which go on with the old generation; about 20,000 rules. */
const largeBytes = 512 * 1024;

/** A table that never comes to rest is taken as it is after so long. */
const restlessMs = 2000;

/** The shortest and the longest pause between two looks at a file that is being written. */
const recheckMs = { least: 5, most: 50 } as const;

/** The shortest time between two loads in the background, however often the files change. */
const backgroundPauseMs = 500;

/** What a path leads to, as it is in force. */
interface InForce {
  readonly state: Looked;
  /** Until then (monotonic milliseconds) an equal state does not prove equal content. */
  readonly racyUntil?: number;
  /** Kept of small tables only. */
  readonly source?: Source;
}

type Reading = InForce & { readonly source: Source };

/**
 * The tables in force, one generation after another.
 *
 * Every decision asks for `fresh()`, which looks at the files themselves: two stat(2) calls, and nothing that the kernel
 * may tell us later, such as an inotify event that is still in its queue when the connection is already accepted.
 */
export class LiveTables {
  readonly #options: LiveTablesOptions;
  readonly #inForce = new Map<string, InForce>();
  /** Why an older content of a file is in force, by the file. */
  readonly #kept = new Map<string, Diagnostic>();
  /** Why the tables of the files are not taken as a whole (`access.strict`). */
  #refused: readonly Diagnostic[] = [];
  /** Files that are being changed: the newest state, and when it was first seen (monotonic milliseconds). */
  readonly #moving = new Map<string, { readonly state: Looked; readonly since: number }>();
  #movingSince = 0;
  #current: Generation;
  #resting: Promise<Generation | undefined> | undefined;
  #loading: Promise<void> | undefined;
  /** How often `hold` was called; a load in the background that began before it comes too late. */
  #holds = 0;
  readonly #closed = new AbortController();
  readonly #poll: NodeJS.Timeout;
  /** Tables that are not taken only because others can write to them, which their files do not tell when it is mended. */
  #barred: Loaded | undefined;

  private constructor(options: LiveTablesOptions, loaded: Loaded, readings: ReadonlyMap<string, InForce>) {
    const refused = graveIn(loaded, options);
    this.#options = options;
    this.#current = generationOf(refused.length > 0 ? closed(options) : loaded, options.firstNumber ?? 1);
    this.#keepReadings(readings);
    options.onChange({ generation: this.#current });
    this.#bar(loaded, refused);
    if (refused.length > 0) this.#tellRefused(refused, "there are no tables yet, so everybody is refused");
    this.#poll = setInterval(() => this.#lookAtAll(), options.pollMs ?? 500).unref();
  }

  /** Loads both tables; resolves with the first generation in force. */
  static async open(options: LiveTablesOptions): Promise<LiveTables> {
    const { allow, deny } = options;
    if (sizeOf([allow, deny].map(look)) > largeBytes) {
      const { readings, ...loaded } = await loadTablesInBackground(loadOptions(options));
      return new LiveTables(options, loaded, readings);
    }
    const { loaded, readings } = loadNow(options, new Map());
    return new LiveTables(options, loaded, readings);
  }

  /** The generation in force, whether or not the files have changed since. */
  get current(): Generation {
    return this.#current;
  }

  /** Why the generation in force is not what the files say; none when it is. */
  get kept(): readonly Diagnostic[] {
    return [...this.#kept.values(), ...this.#refused];
  }

  /**
   * The generation that agrees with the files at this moment, or undefined while they are being written. Large tables are
   * loaded in the background: until that is done, the one in force counts.
   */
  fresh(): Generation | undefined {
    if (this.#resting !== undefined) return undefined;
    const changed = this.#changedPaths();
    if (changed.length === 0) {
      this.#moving.clear();
      return this.#current;
    }
    if (this.#isLarge()) {
      this.#loading ??= this.#loadBeside().finally(() => {
        this.#loading = undefined;
      });
      return this.#current;
    }
    const readings = new Map(changed.map((path) => [path, readNow(path)]));
    const waitMs = this.#waitMs(readings);
    if (waitMs <= 0) {
      this.#apply(readings);
      return this.#current;
    }
    this.#rest(waitMs);
    return undefined;
  }

  /** Like `fresh`, but waits while a file is being written. Rejects with the signal's reason when that comes first. */
  async settled(signal: AbortSignal): Promise<Generation> {
    for (;;) {
      // What the look after the rest has found counts: to look once more may find the file in need of another rest, for ever.
      const generation = this.fresh() ?? (await this.#resting);
      if (generation !== undefined) return generation;
      signal.throwIfAborted();
    }
  }

  /**
   * Puts older tables in force again, under a new number, in place of what the files say. They stay until the content of a
   * file changes once more.
   */
  hold({ tables, allowRules, denyRules, diagnostics }: Generation): void {
    this.#holds += 1;
    this.#kept.clear();
    this.#refused = [];
    this.#barred = undefined;
    this.#moving.clear();
    this.#keepReadings(new Map(Array.from(this.#inForce.keys(), (path) => [path, readNow(path)])));
    const number = this.#current.number + 1;
    this.#current = { number, tables, allowRules, denyRules, diagnostics };
    this.#options.onChange({ generation: this.#current });
  }

  close(): void {
    clearInterval(this.#poll);
    this.#closed.abort();
  }

  #lookAtAll(): void {
    this.fresh();
    const barred = this.#barred;
    if (barred !== undefined && findWriters(barred.paths).length === 0) this.#take(barred, this.#inForce);
  }

  #bar(loaded: Loaded, refused: readonly Diagnostic[]): void {
    this.#barred = refused.length > 0 && refused.every(isAboutWriters) ? loaded : undefined;
  }

  #changedPaths(): string[] {
    const now = performance.now();
    const changed: string[] = [];
    for (const [path, { state, racyUntil = 0 }] of this.#inForce) {
      if (now < racyUntil || !isSameState(state, look(path))) changed.push(path);
    }
    return changed;
  }

  #isLarge(): boolean {
    return (
      sizeOf(Array.from(this.#inForce.keys(), look)) > largeBytes ||
      sizeOf(Array.from(this.#inForce.values(), ({ state }) => state)) > largeBytes
    );
  }

  /** Milliseconds until the changed files may come into force; 0 or less = now. */
  #waitMs(readings: ReadonlyMap<string, Reading>): number {
    let waitMs = 0;
    for (const [path, { state, source }] of readings) {
      const before = this.#inForce.get(path);
      const neededMs = quietNeededMs(
        before?.source === undefined ? undefined : { state: before.state, bytes: bytesOf(before.source) },
        { state, bytes: bytesOf(source) },
      );
      waitMs = Math.max(waitMs, neededMs - this.#quietMs(path, state));
    }
    if (!this.#isOneMoment(readings)) waitMs = Math.max(waitMs, recheckMs.least);
    return performance.now() - this.#movingSince > restlessMs ? 0 : waitMs;
  }

  /**
   * Whether the files were as they were read all at the same time: they are read one after the other, and somebody who changes both
   * tables in between would give us one of before and one of after.
   */
  #isOneMoment(readings: ReadonlyMap<string, Reading>): boolean {
    for (const [path, before] of this.#inForce) {
      const { source, state } = readings.get(path) ?? before;
      if (source?.kind !== "unreadable" && !isSameState(state, look(path))) return false;
    }
    return true;
  }

  /** How long a changed file has been as it is now. */
  #quietMs(path: string, state: Looked): number {
    const now = performance.now();
    if (this.#moving.size === 0) this.#movingSince = now;
    const seen = this.#moving.get(path);
    const since = seen !== undefined && isSameState(seen.state, state) ? seen.since : now;
    this.#moving.set(path, { state, since });
    return Math.max(now - since, ageMs(state));
  }

  /** Looks again when the files may have come to rest; everybody who waits, waits for the same look. */
  #rest(waitMs: number): void {
    const pauseMs = Math.min(Math.max(waitMs, recheckMs.least), recheckMs.most);
    this.#resting ??= new Promise((resolve) => {
      setTimeout(() => {
        this.#resting = undefined;
        resolve(this.fresh());
      }, pauseMs);
    });
  }

  #apply(readings: ReadonlyMap<string, Reading>): void {
    this.#moving.clear();
    const wasKept = this.#kept.size > 0;
    let hasNewContent = false;
    for (const [path, reading] of readings) {
      const before = this.#inForce.get(path);
      if (before?.source !== undefined && this.#isKept(path, before, reading)) continue;
      hasNewContent ||= before?.source === undefined || !isSameContent(before.source, reading.source);
      this.#inForce.set(path, reading);
    }
    if (!hasNewContent) {
      if (wasKept && this.#kept.size === 0)
        this.#options.onChange({ generation: this.#current, isBack: true });
      return;
    }
    const { loaded, readings: used } = loadNow(this.#options, this.#inForce);
    this.#take(loaded, used);
  }

  /** True where a file that changed under us does not come into force; says so once, by noting its new state. */
  #isKept(path: string, before: InForce, { state, source }: Reading): boolean {
    const reason = reasonToKeep(source, this.#options.missing);
    if (reason === undefined) {
      this.#kept.delete(path);
      return false;
    }
    this.#inForce.set(path, { ...before, state, racyUntil: 0 });
    if (!isSameState(before.state, state)) this.#tellKept({ file: path, line: 0 }, reason);
    return true;
  }

  #tellKept(place: Pick<Diagnostic, "file" | "line" | "column">, reason: string): void {
    const message = `cannot read it: ${reason}`;
    const hint = "the rules read before stay in force";
    const kept: Diagnostic = { ...place, severity: "error", code: "table-kept", message, hint };
    this.#kept.set(place.file, kept);
    this.#options.onChange({ generation: this.#current, kept });
  }

  #tellRefused(refused: readonly Diagnostic[], hint: string): void {
    const [first] = refused;
    if (first === undefined) return;
    const { file, line, code } = first;
    const message = `not taken, because of access.strict: ${code}`;
    const kept: Diagnostic = { file, line, severity: "error", code: "table-refused", message, hint };
    this.#refused = [kept, ...refused];
    this.#options.onChange({ generation: this.#current, kept, refused });
  }

  /** Loads large tables in a thread, once they have come to rest; decisions go on meanwhile. Never rejects. */
  async #loadBeside(): Promise<void> {
    const { signal } = this.#closed;
    const holds = this.#holds;
    try {
      while (this.#unreadWaitMs() > 0) await pause(recheckMs.most, undefined, { signal });
      this.#moving.clear();
      const { readings, ...loaded } = await loadTablesInBackground({ ...loadOptions(this.#options), signal });
      if (holds !== this.#holds) return;
      for (const path of [this.#options.allow, this.#options.deny]) {
        const found = readings.get(path);
        const reason = found && reasonToKeep(found.source, this.#options.missing);
        if (found !== undefined && reason !== undefined) {
          this.#keepReadings(readings);
          this.#tellKept({ file: path, line: 0 }, reason);
          return;
        }
      }
      const cutShort = cutIn(loaded);
      if (cutShort !== undefined && cutIn(this.#current) === undefined) {
        this.#keepReadings(readings);
        this.#tellKept(cutShort, "a line is too long");
        return;
      }
      this.#kept.clear();
      this.#take(loaded, readings);
      await pause(backgroundPauseMs, undefined, { signal });
    } catch (cause) {
      if (signal.aborted) return;
      this.#tellKept(
        { file: this.#options.deny, line: 0 },
        cause instanceof Error ? cause.message : String(cause),
      );
      await pause(restlessMs);
    }
  }

  /** As `#waitMs`, without reading the files: by their sizes and last bytes. */
  #unreadWaitMs(): number {
    let waitMs = 0;
    for (const path of this.#changedPaths()) {
      const state = look(path);
      const neededMs = quietNeededUnreadMs(this.#inForce.get(path)?.state, state, readTail(path));
      waitMs = Math.max(waitMs, neededMs - this.#quietMs(path, state));
    }
    return performance.now() - this.#movingSince > restlessMs ? 0 : waitMs;
  }

  #take(loaded: Loaded, readings: ReadonlyMap<string, InForce>): void {
    this.#keepReadings(readings);
    const refused = graveIn(loaded, this.#options);
    this.#bar(loaded, refused);
    if (refused.length > 0) return this.#tellRefused(refused, "the rules read before stay in force");
    this.#refused = [];
    this.#current = generationOf(loaded, this.#current.number + 1);
    this.#options.onChange({ generation: this.#current });
  }

  /** Notes what is in force; the content only of small tables, for it is needed to tell an append from a rewrite. */
  #keepReadings(readings: ReadonlyMap<string, InForce>): void {
    const isLarge = sizeOf(Array.from(readings.values(), ({ state }) => state)) > largeBytes;
    const kept = Array.from(readings, ([path, { state, racyUntil, source }]): [string, InForce] => [
      path,
      {
        state,
        ...(racyUntil !== undefined && { racyUntil }),
        ...(!isLarge && source !== undefined && { source }),
      },
    ]);
    this.#inForce.clear();
    for (const [path, reading] of kept) this.#inForce.set(path, reading);
  }
}

function loadNow(
  options: LiveTablesOptions,
  known: ReadonlyMap<string, InForce>,
): { loaded: Loaded; readings: Map<string, Reading> } {
  const readings = new Map<string, Reading>();
  const loaded = loadTables({
    ...loadOptions(options),
    read: (path, maxBytes) => {
      const inline = options.inline?.get(path);
      if (inline !== undefined) return { kind: "text", bytes: new TextEncoder().encode(inline) };
      const { source, ...rest } = known.get(path) ?? readNow(path, maxBytes);
      const reading = source === undefined ? readNow(path, maxBytes) : { ...rest, source };
      readings.set(path, reading);
      return reading.source;
    },
  });
  return { loaded, readings };
}

function loadOptions({ allow, deny, noMatch, inline, strict }: LiveTablesOptions) {
  return {
    allow,
    deny,
    noMatch,
    interfaces: interfaceNames(),
    ...(inline !== undefined && { inline }),
    ...(strict !== undefined && { criticism: strict }),
  };
}

/** Why tables may not be taken; none where nobody is strict. */
function graveIn({ diagnostics, paths }: Loaded, { strict }: LiveTablesOptions): readonly Diagnostic[] {
  return strict === undefined ? [] : [...diagnostics.filter(isGrave), ...findWriters(paths)];
}

/**
 * Where a table ends before its last line. No line of a small table is so long, so only loads in the background ask. The first tables
 * are taken even so, as there are no others: then hosts.deny refuses everybody who comes to that place.
 */
function cutIn({
  diagnostics,
}: Pick<Loaded, "diagnostics">): Pick<Diagnostic, "file" | "line" | "column"> | undefined {
  const found = diagnostics.find(({ code }) => code === "line-too-long");
  if (found === undefined) return undefined;
  const { file, line, column } = found;
  return column === undefined ? { file, line } : { file, line, column };
}

/** Tables that let nobody in. */
function closed({ allow, deny }: LiveTablesOptions): Loaded {
  return loadTables({ allow, deny, noMatch: "refuse", read: () => ({ kind: "missing" }) });
}

function generationOf({ tables, allowRules, denyRules, diagnostics }: Loaded, number: number): Generation {
  return { number, tables, allowRules, denyRules, diagnostics };
}

function readNow(path: string, maxBytes = MAX_FILE_BYTES): Reading {
  const { source, state } = readWhole(path, maxBytes);
  return { source, state, racyUntil: ageMs(state) < racyMs ? performance.now() + racyMs : 0 };
}

/** Why a table that has changed under us does not come into force; undefined when it does. */
function reasonToKeep(source: Source, missing: LiveTablesOptions["missing"]): string | undefined {
  switch (source.kind) {
    case "text":
      return undefined;
    case "missing":
      return missing === "keep" ? "the file is gone" : undefined;
    case "directory":
      return "it is a directory now";
    case "unreadable":
      return source.reason;
  }
}

function bytesOf(source: Source): Uint8Array {
  return source.kind === "text" ? source.bytes : new Uint8Array();
}

function isSameContent(before: Source, after: Source): boolean {
  return before.kind === after.kind && Buffer.compare(bytesOf(before), bytesOf(after)) === 0;
}

function sizeOf(states: readonly Looked[]): number {
  return states.reduce(
    (sum, state) => sum + (typeof state === "object" && "size" in state ? state.size : 0),
    0,
  );
}
