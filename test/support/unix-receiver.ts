/** Receivers on unix datagram sockets: one that reads, and one that never does. */
import { once } from "node:events";
import { createRequire } from "node:module";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Worker } from "node:worker_threads";

import { DgramSocket } from "node-unix-socket";

/** A folder that goes away with the test. */
export function temporaryFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Datagrams as they arrive. */
export interface Received {
  readonly texts: readonly string[];
  /** Resolves once so many have arrived, or rejects after five seconds. */
  count(wanted: number): Promise<void>;
  close(): void;
}

/** Binds a path and collects what comes; a file left there is removed first. */
export function receiveDatagrams(path: string): Received {
  rmSync(path, { force: true });
  const texts: string[] = [];
  const socket = new DgramSocket();
  socket.bind(path);
  socket.on("data", (bytes: Buffer) => {
    texts.push(bytes.toString());
    socket.emit("counted");
  });
  return {
    texts,
    async count(wanted) {
      const signal = AbortSignal.timeout(5000);
      while (texts.length < wanted) await once(socket, "counted", { signal });
    },
    close: () => socket.close(),
  };
}

/** Binds a path in another thread and reads nothing until it is told to end. */
export async function bindAndNeverRead(path: string): Promise<() => Promise<void>> {
  rmSync(path, { force: true });
  const gate = new SharedArrayBuffer(4);
  const worker = new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
     const { DgramSocket } = require(workerData.module);
     const socket = new DgramSocket();
     socket.bind(workerData.path);
     parentPort.postMessage("bound");
     Atomics.wait(new Int32Array(workerData.gate), 0, 0);
     socket.close();`,
    {
      eval: true,
      workerData: { path, gate, module: createRequire(import.meta.url).resolve("node-unix-socket") },
    },
  );
  await once(worker, "message");
  return async () => {
    const ended = once(worker, "exit");
    Atomics.store(new Int32Array(gate), 0, 1);
    Atomics.notify(new Int32Array(gate), 0);
    await ended;
  };
}
