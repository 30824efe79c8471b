/** Loads large tables in a thread of its own, while decisions and relays go on. */
import { Worker } from "node:worker_threads";
import type { Source } from "../access/types.ts";
import type { FileReading } from "./files.ts";
import { loadedOf, type Loaded, type LoadedData, type LoadOptions } from "./load.ts";

/** What is to be loaded; as `LoadOptions`, but the thread reads the files itself. */
export interface BackgroundOptions extends Omit<LoadOptions, "read" | "criticism"> {
  /** As there, but for what cannot be sent to a thread. */
  readonly criticism?: Omit<NonNullable<LoadOptions["criticism"]>, "daemons">;
  /** Tables whose text is given, by the name that stands in place of a path. */
  readonly inline?: ReadonlyMap<string, string>;
  /** Everything that is to be found, in place of the files. */
  readonly sources?: ReadonlyMap<string, Source>;
  /** Ends the thread; the load rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** As `Loaded`, and what the thread found at each path it read. */
export interface LoadedInBackground extends Loaded {
  readonly readings: ReadonlyMap<string, FileReading>;
}

/** What the thread is given, and what it gives back: flat arrays that change hands without a copy. */
export type WorkerInput = Pick<
  BackgroundOptions,
  "allow" | "deny" | "interfaces" | "domain" | "inline" | "sources" | "criticism"
>;
export interface WorkerOutput {
  readonly data: LoadedData;
  readonly readings: ReadonlyMap<string, FileReading>;
}

/**
 * Does what `loadTables` does, in a thread. The event loop of the caller only takes over the finished arrays.
 *
 * Rejects when the thread ends before it is done (out of memory, say) and when `signal` fires.
 */
export async function loadTablesInBackground(options: BackgroundOptions): Promise<LoadedInBackground> {
  const { data, readings } = await runWorker(options);
  return { ...loadedOf(data, options.noMatch), readings };
}

function runWorker({ signal, ...options }: BackgroundOptions): Promise<WorkerOutput> {
  const { allow, deny, interfaces, domain, inline, sources, criticism } = options;
  const input: WorkerInput = {
    allow,
    deny,
    ...(interfaces && { interfaces }),
    domain,
    ...(inline && { inline }),
    ...(sources && { sources }),
    ...(criticism && { criticism }),
  };
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const worker = startWorker(input);
    const stop = (): void => {
      reject(signal?.reason);
      void worker.terminate();
    };
    signal?.addEventListener("abort", stop, { once: true });
    worker.once("message", (output: WorkerOutput) => {
      resolve(output);
    });
    worker.once("error", reject);
    worker.once("exit", (status) => {
      signal?.removeEventListener("abort", stop);
      // Too late to matter where the message came first.
      reject(new Error(`the thread that loads the tables ended with status ${status}`));
    });
  });
}

/** The thread runs what we run ourselves: the built file, or in tests and during development the source. */
function startWorker(workerData: WorkerInput): Worker {
  if (!import.meta.url.endsWith(".ts"))
    return new Worker(new URL("./load-worker.js", import.meta.url), { workerData });
  // A thread does not inherit the loader for TypeScript, so it registers one before it loads the file.
  const file = JSON.stringify(new URL("./load-worker.ts", import.meta.url));
  const loader = JSON.stringify(import.meta.resolve("tsx/esm/api"));
  const code = `import(${loader}).then(({ register }) => { register(); return import(${file}); });`;
  return new Worker(code, { eval: true, workerData });
}
