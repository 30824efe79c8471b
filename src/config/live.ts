/** Keeps the tables in force equal to the files: every edit counts for the next connection, and no half-written file ever does. */

import { performance } from "node:perf_hooks";
import type { Tables } from "../access/tables.ts";
import type { Diagnostic, Source } from "../access/types.ts";
import { isSameState, look, type Looked, readWhole } from "./files.ts";
import { interfaceNames } from "../platform/interfaces.ts";
import { type Loaded, type LoadOptions, loadTables, MAX_FILE_BYTES } from "./load.ts";
import { quietNeededMs, racyMs, type Reading } from "./settle.ts";

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
}

export interface LiveTablesOptions {
  readonly allow: string;
  readonly deny: string;
  readonly noMatch: LoadOptions["noMatch"];
  /** A table that disappears while we run: read as empty (tcpd), or the old rules stay. */
  readonly missing: "empty" | "keep";
  /** Tables whose text was given to us, by the name that stands in place of a path. */
  readonly inline?: ReadonlyMap<string, string>;
  readonly onChange: (change: TablesChange) => void;
  /** The number of the first generation; absent = 1. */
  readonly firstNumber?: number;
  /** How often the files are looked at when no connection comes; milliseconds. */
  readonly pollMs?: number;
}

/** Tables beyond this are loaded beside the decisions, which go on with the old generation; about 20,000 rules. */
const backgroundBytes = 512 * 1024;

/** A table that never comes to rest is taken as it is after so long, if its lines are whole. */
const restlessMs = 2000;

/** The shortest and the longest pause between two looks at a file that is being written. */
const recheckMs = { least: 5, most: 50 } as const;

/** A reading in force, and until when (monotonic milliseconds) an equal state does not prove equal content. */
type InForce = Reading & { readonly source: Source; readonly racyUntil: number };

/**
 * The tables in force, one generation after another.
 *
 * Every decision asks for `fresh()`, which looks at the files themselves: two stat(2) calls, and nothing that the kernel
 * may tell us later, such as an inotify event that is still in its queue when the connection is already accepted.
 */
export class LiveTables {
  readonly #options: LiveTablesOptions;
  readonly #readings = new Map<string, InForce>();
  /** Files that are being changed: the newest state, and when it was first seen (monotonic milliseconds). */
  readonly #moving = new Map<string, { readonly state: Looked; readonly since: number }>();
  #movingSince = 0;
  #current: Generation;
  #resting: Promise<void> | undefined;
  readonly #poll: NodeJS.Timeout;

  /** Loads both tables; the first generation is there when the constructor returns. */
  constructor(options: LiveTablesOptions) {
    this.#options = options;
    this.#current = this.#load(new Map(), options.firstNumber ?? 1);
    options.onChange({ generation: this.#current });
    this.#poll = setInterval(() => this.fresh(), options.pollMs ?? 500).unref();
  }

  /** The generation in force, whether or not the files have changed since. */
  get current(): Generation {
    return this.#current;
  }

  /** The generation that agrees with the files at this moment, or undefined while they are being written. */
  fresh(): Generation | undefined {
    if (this.#resting === undefined) {
      const changed = this.#changedPaths();
      if (changed.length === 0) {
        this.#moving.clear();
        return this.#current;
      }
      const readings = this.#read(changed);
      const waitMs = this.#waitMs(readings);
      if (waitMs <= 0) {
        this.#apply(readings);
        return this.#current;
      }
      this.#rest(waitMs);
    }
    return this.#isLarge() ? this.#current : undefined;
  }

  /** Like `fresh`, but waits while a file is being written. Rejects with the signal's reason when that comes first. */
  async settled(signal: AbortSignal): Promise<Generation> {
    for (;;) {
      const generation = this.fresh();
      if (generation !== undefined) return generation;
      signal.throwIfAborted();
      await this.#resting;
    }
  }

  close(): void {
    clearInterval(this.#poll);
  }

  #changedPaths(): string[] {
    const now = performance.now();
    const changed: string[] = [];
    for (const [path, reading] of this.#readings) {
      if (now < reading.racyUntil || !isSameState(reading.state, look(path))) changed.push(path);
    }
    return changed;
  }

  #isLarge(): boolean {
    let bytes = 0;
    for (const reading of this.#readings.values()) bytes += reading.bytes.length;
    return bytes > backgroundBytes;
  }

  #read(paths: readonly string[]): Map<string, Reading & { source: Source }> {
    return new Map(
      paths.map((path) => {
        const { source, state } = readWhole(path, MAX_FILE_BYTES);
        const bytes = source.kind === "text" ? source.bytes : new Uint8Array();
        return [path, { source, state, bytes }];
      }),
    );
  }

  /** Milliseconds until the changed files may come into force; 0 = now. */
  #waitMs(readings: ReadonlyMap<string, Reading>): number {
    const now = performance.now();
    let waitMs = 0;
    if (this.#moving.size === 0) this.#movingSince = now;
    for (const [path, reading] of readings) {
      const seen = this.#moving.get(path);
      const since = seen !== undefined && isSameState(seen.state, reading.state) ? seen.since : now;
      this.#moving.set(path, { state: reading.state, since });
      const neededMs = quietNeededMs(this.#readings.get(path), reading);
      waitMs = Math.max(waitMs, neededMs - Math.max(now - since, ageMs(reading.state)));
    }
    const isRestless = now - this.#movingSince > restlessMs;
    return isRestless ? 0 : waitMs;
  }

  /** Looks again when the files may have come to rest; everybody who waits, waits for the same look. */
  #rest(waitMs: number): void {
    const pauseMs = Math.min(Math.max(waitMs, recheckMs.least), recheckMs.most);
    this.#resting ??= new Promise((resolve) => {
      setTimeout(() => {
        this.#resting = undefined;
        resolve();
        this.fresh();
      }, pauseMs);
    });
  }

  #apply(readings: ReadonlyMap<string, Reading & { source: Source }>): void {
    this.#moving.clear();
    const taken = new Map<string, InForce>();
    let hasNewContent = false;
    for (const [path, reading] of readings) {
      const before = this.#readings.get(path);
      const kept = before === undefined ? undefined : this.#reasonToKeep(path, reading);
      const racyUntil = ageMs(reading.state) < racyMs ? performance.now() + racyMs : 0;
      if (before !== undefined && kept !== undefined) {
        // The state is noted, so that this is said once; the content in force stays.
        this.#readings.set(path, { ...before, state: reading.state, racyUntil: 0 });
        if (!isSameState(before.state, reading.state))
          this.#options.onChange({ generation: this.#current, kept });
        continue;
      }
      hasNewContent ||= before === undefined || !isSameContent(before, reading);
      taken.set(path, { ...reading, racyUntil });
    }
    for (const [path, reading] of taken) this.#readings.set(path, reading);
    if (!hasNewContent) return;
    this.#current = this.#load(this.#readings, this.#current.number + 1);
    this.#options.onChange({ generation: this.#current });
  }

  /** Why a file that has changed under us does not come into force; undefined when it does. */
  #reasonToKeep(path: string, reading: Reading & { source: Source }): Diagnostic | undefined {
    const isDirectory =
      typeof reading.state === "object" && "isFile" in reading.state && !reading.state.isFile;
    const reason =
      reading.source.kind === "unreadable"
        ? reading.source.reason
        : isDirectory
          ? "it is a directory now"
          : reading.source.kind === "missing" && this.#options.missing === "keep"
            ? "the file is gone"
            : undefined;
    if (reason === undefined) return undefined;
    return {
      file: path,
      line: 0,
      severity: "error",
      code: "table-kept",
      message: `cannot read it: ${reason}`,
      hint: "the rules read before stay in force",
    };
  }

  #load(known: ReadonlyMap<string, InForce>, number: number): Generation {
    const { allow, deny, noMatch } = this.#options;
    const used = new Map<string, InForce>();
    const loaded: Loaded = loadTables({
      allow,
      deny,
      noMatch,
      interfaces: interfaceNames(),
      read: (path, maxBytes) => {
        const inline = this.#options.inline?.get(path);
        if (inline !== undefined) return { kind: "text", bytes: new TextEncoder().encode(inline) };
        const reading = known.get(path) ?? readNow(path, maxBytes);
        used.set(path, reading);
        return reading.source;
      },
    });
    this.#readings.clear();
    for (const [path, reading] of used) this.#readings.set(path, reading);
    const { tables, allowRules, denyRules, diagnostics } = loaded;
    return { number, tables, allowRules, denyRules, diagnostics };
  }
}

function readNow(path: string, maxBytes: number): InForce {
  const { source, state } = readWhole(path, maxBytes);
  const bytes = source.kind === "text" ? source.bytes : new Uint8Array();
  return { source, state, bytes, racyUntil: ageMs(state) < racyMs ? performance.now() + racyMs : 0 };
}

/** Milliseconds since the file was last touched, by the wall clock; 0 where the file's time lies ahead, or there is no file. */
function ageMs(state: Looked): number {
  if (state === "missing" || "unreadable" in state) return 0;
  const touchedNs = state.changedNs > state.modifiedNs ? state.changedNs : state.modifiedNs;
  return Math.max(0, Date.now() - Number(touchedNs / 1_000_000n));
}

function isSameContent(before: Reading & { source: Source }, after: Reading & { source: Source }): boolean {
  return before.source.kind === after.source.kind && Buffer.compare(before.bytes, after.bytes) === 0;
}
