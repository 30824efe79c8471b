/** A process of its own that writes records to its standard output and tells its parent how it fared. */
import { closeSync, openSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";

import { Journal } from "../../src/record/journal.ts";
import type { Sink } from "../../src/record/sink.ts";
import { openSinks } from "../../src/record/sinks.ts";

/** What the parent hears in the end. */
export interface WriterReport {
  readonly queuedLines: number;
  readonly lostLines: number;
  /** What the other sink has been told about standard output. */
  readonly told: readonly string[];
  readonly longestTurnMs: number;
  readonly closeMs: number;
  /** The number that the next opened file got, once standard output had closed. */
  readonly nextDescriptor: number;
}

async function main(): Promise<void> {
  const [format = "text", count = "1", pauseMs = "0"] = process.argv.slice(2);
  const told: string[] = [];
  const memory: Sink = {
    name: "memory",
    write: ({ fields }) => {
      if (fields.event === "diagnostic" && fields.code.startsWith("log-sink"))
        told.push(`${fields.code}: ${fields.message}`);
    },
    state: () => ({ name: "memory", queuedLines: 0, lostLines: 0 }),
    close: async () => undefined,
  };
  const settings = { to: "stdout", format: format === "json" ? "json" : "text", queue: 2 ** 20 } as const;
  const sinks = openSinks([settings], { pid: process.pid, hostname: "host", environment: {} });
  const journal = new Journal({ sinks: [...sinks, memory] });
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  for (let number = 0; number < Number(count); number++) {
    journal.warn({ code: "test-line", message: `number ${number}` });
    if (number % 1000 === 999) await new Promise(setImmediate);
  }
  await sleep(Number(pauseMs));
  journal.warn({ code: "test-line", message: "last" });
  const begun = performance.now();
  await journal.close(300);
  const closeMs = performance.now() - begun;
  await new Promise(setImmediate);
  const next = openSync("/dev/null", "r");
  closeSync(next);
  const [state] = journal.sinks();
  process.send?.({
    queuedLines: state?.queuedLines ?? -1,
    lostLines: state?.lostLines ?? -1,
    told,
    longestTurnMs: delay.max / 1e6,
    closeMs,
    nextDescriptor: next,
  } satisfies WriterReport);
  // As a daemon ends: a thread of the pool that hangs in a write would hold this up for ever.
  process.disconnect?.();
  process.exit(0);
}

void main();
