/** Keeps the tables in force equal to the files: every edit counts for the next connection, and no half-written file ever does. */

import { setTimeout as pause } from "node:timers/promises";
import { isGrave } from "../access/codes.ts";
import type { Tables } from "../access/tables.ts";
import type { Diagnostic, Source } from "../access/types.ts";
import { interfaceNames } from "../platform/interfaces.ts";
import { nisDomain } from "../platform/nis-domain.ts";
import {
  FilesInForce,
  type InForce,
  type Reading,
  readNow,
  recheckMs,
  restlessMs,
  sizeOf,
} from "./files-in-force.ts";
import { type FileReading, isSameState, look } from "./files.ts";
import { type BackgroundOptions, loadTablesInBackground } from "./load-background.ts";
import { type Loaded, type LoadOptions, loadTables } from "./load.ts";
import { fingerprint, isSameContent, largeBytes, restore, type Snapshot } from "./snapshot.ts";
import { findWriters, isAboutWriters } from "./writers.ts";

/** Both tables of one moment. One decision sees one generation. */
export interface Generation {
  /** Counted from 1. */
  readonly number: number;
  readonly tables: Tables;
  readonly allowRules: number;
  readonly denyRules: number;
  readonly diagnostics: readonly Diagnostic[];
  /** What they were made of. */
  readonly sources: Loaded["sources"];
}

/** Older tables that are in force in place of what the files say. */
export interface Held {
  readonly tables: Snapshot;
  /** The files that they stand for (`fingerprint`): what is another one is an edit, and counts. Absent = whatever they are. */
  readonly since?: string;
}

/** What happened to the tables: a new generation is in force, or the old one stays because `kept` says so. */
export interface TablesChange {
  readonly generation: Generation;
  readonly kept?: Diagnostic;
  /** With `kept`: what is wrong with the tables that were not taken (`access.strict`). */
  readonly refused?: readonly Diagnostic[];
  /** A table that could not be read is again what it was: the generation in force is that of the files. */
  readonly isBack?: true;
  /** The new generation is an older one that is held in place of what the files say. */
  readonly isHeld?: true;
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

/** The shortest time between two loads in the background, however often the files change. */
const backgroundPauseMs = 500;

/** One load in the background, and the pause after it. */
interface BackgroundLoad {
  /** Resolves when the tables are loaded, or are not; never rejects. */
  readonly done: Promise<void>;
  /** Whether decisions wait for it. */
  isWaitedFor: boolean;
}

/**
 * The tables in force, one generation after another.
 *
 * Every decision asks for `fresh()`, which looks at the files themselves: two stat(2) calls, and nothing that the kernel
 * may tell us later, such as an inotify event that is still in its queue when the connection is already accepted.
 *
 * Small tables are loaded at once, large ones in the background: decisions go on with the old generation meanwhile, or wait
 * where the tables have only few lines.
 */
export class LiveTables {
  readonly #options: LiveTablesOptions;
  readonly #files = new FilesInForce();
  /** Why an older content of a file is in force, by the file. */
  readonly #kept = new Map<string, Diagnostic>();
  /** Why the tables of the files are not taken as a whole (`access.strict`). */
  #refused: readonly Diagnostic[] = [];
  #current: Generation;
  #resting: Promise<Generation | undefined> | undefined;
  #load: BackgroundLoad | undefined;
  /** How often `hold` was called; a load in the background that began before it comes too late. */
  #holds = 0;
  #heldSince: string | undefined;
  readonly #closed = new AbortController();
  readonly #poll: NodeJS.Timeout;
  /** Tables that are not taken only because others can write to them, which their files do not tell when it is mended. */
  #barred: Loaded | undefined;

  /** @param held in force in place of `loaded`, for as long as the files say that */
  private constructor(
    options: LiveTablesOptions,
    loaded: Loaded,
    readings: ReadonlyMap<string, InForce>,
    held: Loaded | undefined,
  ) {
    const refused = held === undefined ? graveIn(loaded, options) : [];
    this.#options = options;
    this.#current = generationOf(
      held ?? (refused.length > 0 ? closed(options) : loaded),
      options.firstNumber ?? 1,
    );
    if (held !== undefined) this.#heldSince = filesIn(loaded.sources, options);
    this.#files.replace(readings);
    options.onChange({ generation: this.#current, ...(held !== undefined && { isHeld: true }) });
    this.#bar(loaded, refused);
    if (refused.length > 0) this.#tellRefused(refused, "there are no tables yet, so everybody is refused");
    this.#poll = setInterval(() => this.#lookAtAll(), options.pollMs ?? 500).unref();
  }

  /**
   * Loads both tables; resolves with the first generation in force.
   *
   * @param held what somebody before us held in force, and holds on if no file has changed since
   */
  static async open(options: LiveTablesOptions, held?: Held): Promise<LiveTables> {
    const now = loadNow(options, new Map());
    if (now !== undefined)
      return new LiveTables(options, now.loaded, now.readings, await heldIn(held, now.loaded, options));
    const { readings, ...loaded } = await loadTablesInBackground(loadOptions(options));
    return new LiveTables(options, loaded, inForce(readings), await heldIn(held, loaded, options));
  }

  /** The generation in force, whether or not the files have changed since. */
  get current(): Generation {
    return this.#current;
  }

  /** The files that the tables in force stand for, since they are older ones (`hold`); undefined when they are those of the files. */
  get heldSince(): string | undefined {
    return this.#heldSince;
  }

  /** Why the generation in force is not what the files say; none when it is. */
  get kept(): readonly Diagnostic[] {
    return [...this.#kept.values(), ...this.#refused];
  }

  /**
   * The generation that agrees with the files at this moment, or undefined while they are being written, or loaded in the
   * background and short. While long ones are loaded, the generation in force counts.
   */
  fresh(): Generation | undefined {
    if (this.#resting !== undefined) return undefined;
    const changed = this.#files.changed();
    if (changed.length === 0) {
      this.#files.rested();
      return this.#current;
    }
    if (this.#load !== undefined || this.#files.isLarge()) return this.#beside();
    const readings = new Map(changed.map((path) => [path, readNow(path)]));
    const waitMs = this.#files.waitMs(readings);
    if (waitMs <= 0) return this.#apply(readings) ? this.#current : this.#beside();
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
  hold(older: Omit<Generation, "number">): void {
    this.#holds += 1;
    this.#kept.clear();
    this.#refused = [];
    this.#barred = undefined;
    this.#files.rested();
    const readings = this.#files.readNow();
    this.#files.replace(readings);
    const sources = new Map(Array.from(readings, ([path, { source }]) => [path, source]));
    this.#heldSince = filesIn(sources, this.#options);
    this.#current = generationOf(older, this.#current.number + 1);
    this.#options.onChange({ generation: this.#current, isHeld: true });
  }

  close(): void {
    clearInterval(this.#poll);
    this.#closed.abort();
  }

  #lookAtAll(): void {
    this.fresh();
    const barred = this.#barred;
    if (barred !== undefined && findWriters(barred.paths).length === 0) this.#take(barred, this.#files.all());
  }

  #bar(loaded: Loaded, refused: readonly Diagnostic[]): void {
    this.#barred = refused.length > 0 && refused.every(isAboutWriters) ? loaded : undefined;
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

  /** False where they are not small after all, since they name large lists: nothing has changed then. */
  #apply(readings: ReadonlyMap<string, Reading>): boolean {
    const next = this.#files.all();
    const refused = new Map<string, string>();
    let hasNewContent = false;
    for (const [path, reading] of readings) {
      const before = next.get(path);
      const isKnown = before?.source !== undefined || before?.kind === "text";
      const reason = isKnown ? reasonToKeep(reading.source, this.#options.missing) : undefined;
      if (before === undefined || reason === undefined) {
        hasNewContent ||= before?.source === undefined || !isSameContent(before.source, reading.source);
        next.set(path, reading);
      } else if (before.source === undefined) {
        // Large it was, and its content is only in the tables in force: they stay as they are.
        this.#files.rested();
        this.#keepFor({ file: path, line: 0 }, reason, this.#files.readNow());
        return true;
      } else {
        refused.set(path, reason);
        next.set(path, { ...before, state: reading.state, racyUntil: 0 });
      }
    }
    const now = hasNewContent ? loadNow(this.#options, next) : undefined;
    if (hasNewContent && now === undefined) return false;
    this.#files.rested();
    const wasKept = this.#kept.size > 0;
    for (const path of readings.keys()) if (!refused.has(path)) this.#kept.delete(path);
    const told = [...refused].filter(([path]) => !this.#isTold(path, readings));
    this.#files.replace(next);
    for (const [path, reason] of told) this.#tellKept({ file: path, line: 0 }, reason);
    if (now !== undefined) this.#take(now.loaded, now.readings);
    else if (wasKept && this.#kept.size === 0)
      this.#options.onChange({ generation: this.#current, isBack: true });
    return true;
  }

  /** What a file has become does not come into force; that is told once, when it becomes so. */
  #isTold(path: string, readings: ReadonlyMap<string, Reading>): boolean {
    const [before, after] = [this.#files.get(path), readings.get(path)];
    return before !== undefined && after !== undefined && isSameState(before.state, after.state);
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

  /** Has the files loaded in the background; undefined where a decision waits for that. */
  #beside(): Generation | undefined {
    const load = (this.#load ??= this.#startLoad());
    if (!load.isWaitedFor) return this.#current;
    this.#resting ??= load.done.then(() => {
      this.#resting = undefined;
      return this.fresh();
    });
    return undefined;
  }

  #startLoad(): BackgroundLoad {
    const { signal } = this.#closed;
    const load: BackgroundLoad = {
      isWaitedFor: this.#files.isShort(),
      done: this.#loadBeside().then((isLoaded) => {
        if (isLoaded && load.isWaitedFor) {
          this.#load = undefined;
          return;
        }
        load.isWaitedFor = false; // who comes before the next load has the generation in force
        pause(isLoaded ? backgroundPauseMs : restlessMs, undefined, { signal }).then(
          () => (this.#load = undefined),
          () => undefined, // closed: there is no next load
        );
      }),
    };
    return load;
  }

  /** Loads the files in a thread, once they have come to rest. Never rejects; false where nothing could be loaded. */
  async #loadBeside(): Promise<boolean> {
    const { signal } = this.#closed;
    const holds = this.#holds;
    try {
      while (this.#files.unreadWaitMs() > 0) await pause(recheckMs.most, undefined, { signal });
      this.#files.rested();
      const { readings, ...loaded } = await loadTablesInBackground({ ...loadOptions(this.#options), signal });
      if (holds === this.#holds) this.#takeLoaded(loaded, inForce(readings));
      return true;
    } catch (cause) {
      if (signal.aborted) return false;
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.#tellKept({ file: this.#options.deny, line: 0 }, reason);
      return false;
    }
  }

  /** Takes what was loaded in the background, or keeps what is in force where a file has become something else than text. */
  #takeLoaded(loaded: Loaded, readings: ReadonlyMap<string, Reading>): void {
    const { allow, deny, missing } = this.#options;
    for (const [path, { source }] of readings) {
      // A list that there was not before is one that matches nothing.
      const isOurs = path === allow || path === deny || this.#files.get(path)?.kind === "text";
      const reason = isOurs ? reasonToKeep(source, missing) : undefined;
      if (reason === undefined) continue;
      this.#keepFor({ file: path, line: 0 }, reason, readings);
      return;
    }
    const cutShort = cutIn(loaded);
    if (cutShort !== undefined && cutIn(this.#current) === undefined)
      return this.#keepFor(cutShort, "a line is too long", readings);
    this.#kept.clear();
    this.#take(loaded, readings);
  }

  /** Keeps what is in force until a file changes once more. */
  #keepFor(
    place: Pick<Diagnostic, "file" | "line" | "column">,
    reason: string,
    readings: ReadonlyMap<string, Reading>,
  ): void {
    const states = Array.from(readings, ([path, { state, racyUntil = 0, kind }]): [string, InForce] => [
      path,
      { state, racyUntil, kind: this.#files.get(path)?.kind ?? kind },
    ]);
    this.#files.replace(new Map(states));
    this.#tellKept(place, reason);
  }

  #take(loaded: Loaded, readings: ReadonlyMap<string, InForce>): void {
    this.#files.replace(readings);
    const refused = graveIn(loaded, this.#options);
    this.#bar(loaded, refused);
    if (refused.length > 0) return this.#tellRefused(refused, "the rules read before stay in force");
    this.#refused = [];
    this.#heldSince = undefined;
    this.#current = generationOf(loaded, this.#current.number + 1);
    this.#options.onChange({ generation: this.#current });
  }
}

/** Loads the tables at once; undefined where the files are too large for that. */
function loadNow(
  options: LiveTablesOptions,
  known: ReadonlyMap<string, InForce>,
): { loaded: Loaded; readings: Map<string, Reading> } | undefined {
  const readings = new Map<string, Reading>();
  let bytesLeft = largeBytes;
  const read = (path: string, maxBytes: number): Source => {
    const inline = options.inline?.get(path);
    if (inline !== undefined) return { kind: "text", bytes: new TextEncoder().encode(inline) };
    const before = known.get(path);
    bytesLeft -= sizeOf([before?.state ?? look(path)]);
    if (bytesLeft < 0) throw tooLarge;
    const reading =
      before?.source === undefined ? readNow(path, maxBytes) : { ...before, source: before.source };
    readings.set(path, reading);
    return reading.source;
  };
  try {
    return { loaded: loadTables({ ...loadOptions(options), read }), readings };
  } catch (cause) {
    if (cause === tooLarge) return undefined;
    throw cause;
  }
}

/** Thrown where a file is reached that is too large to be loaded at once. */
const tooLarge = new Error("too large");

/** As it came from the thread, which does not know our clock. */
function inForce(readings: ReadonlyMap<string, FileReading>): Map<string, Reading> {
  return new Map(
    Array.from(readings, ([path, { source, state }]) => [path, { source, state, kind: source.kind }]),
  );
}

function loadOptions({ allow, deny, noMatch, inline, strict }: LiveTablesOptions) {
  return {
    allow,
    deny,
    noMatch,
    interfaces: interfaceNames(),
    domain: nisDomain(),
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

function generationOf(
  { tables, allowRules, denyRules, diagnostics, sources }: Omit<Generation, "number">,
  number: number,
): Generation {
  return { number, tables, allowRules, denyRules, diagnostics, sources };
}

/** The older tables that stand for what was just loaded; undefined where nobody holds any, or a file has changed since. */
async function heldIn(
  held: Held | undefined,
  { sources }: Loaded,
  options: LiveTablesOptions,
): Promise<Loaded | undefined> {
  if (held === undefined) return undefined;
  if (held.since !== undefined && held.since !== filesIn(sources, options)) return undefined;
  return await restore(held.tables);
}

/** What the files say, tables left out whose text was given to us. */
function filesIn(sources: Loaded["sources"], { inline }: LiveTablesOptions): string {
  return fingerprint(new Map([...sources].filter(([path]) => inline?.has(path) !== true)));
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
