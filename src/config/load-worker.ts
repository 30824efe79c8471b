/** The thread that loads large tables: reads, compiles, hands the arrays over, and ends. */
import { parentPort, workerData } from "node:worker_threads";
import { ageMs, type FileReading, readWhole } from "./files.ts";
import { loadData } from "./load.ts";
import { notKept } from "./snapshot.ts";
import type { WorkerInput, WorkerOutput } from "./load-background.ts";
import { racyMs } from "./settle.ts";

const { inline, sources, ...input } = workerData as WorkerInput;
const readings = new Map<string, FileReading>();
const data = loadData({
  ...input,
  read: (path, maxBytes) => {
    if (sources !== undefined) return sources.get(path) ?? notKept;
    const text = inline?.get(path);
    if (text !== undefined) return { kind: "text", bytes: new TextEncoder().encode(text) };
    const reading = readAtRest(path, maxBytes);
    readings.set(path, reading);
    return reading.source;
  },
});
const output: WorkerOutput = { data, readings };
parentPort?.postMessage(output, [...buffersIn(output)]);

/** Reads a file that was just touched once more, when no second edit can hide within the tick of its clock. */
function readAtRest(path: string, maxBytes: number): FileReading {
  const reading = readWhole(path, maxBytes);
  const { source, state } = reading;
  if (source.kind !== "text" || ageMs(state) >= racyMs) return reading;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, racyMs);
  return readWhole(path, maxBytes);
}

/** Every array that may change hands; what is shared or copied anyway stays out. */
function buffersIn(value: unknown, found = new Set<ArrayBuffer>()): Set<ArrayBuffer> {
  if (ArrayBuffer.isView(value)) {
    if (value.buffer instanceof ArrayBuffer) found.add(value.buffer);
  } else if (value instanceof Map) {
    for (const inner of value.values()) buffersIn(inner, found);
  } else if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) buffersIn(inner, found);
  }
  return found;
}
