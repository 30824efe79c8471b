/** Measures what a running daemon and its workers keep in memory when their garbage is gone. */

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** Bytes of one process. */
export interface Memory {
  /** Live JavaScript objects. */
  readonly heapUsed: number;
  /** Buffers, of which V8 knows only that they are there. */
  readonly external: number;
  readonly rss: number;
}

export interface MemoryMeter {
  /** What the daemon must be started with. */
  readonly environment: Readonly<Record<string, string>>;
  /** Asks one process; it is given ten seconds to answer. */
  readonly measure: (pid: number) => Promise<Memory>;
}

/** See test/support/memory.mjs. */
export function memoryMeter(t: TestContext): MemoryMeter {
  const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-memory-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const before = fileURLToPath(new URL("memory.mjs", import.meta.url));
  return {
    environment: { NODE_OPTIONS: `--import ${before}`, TCPWRAPD_MEMORY_FOLDER: folder },
    measure: async (pid) => {
      const file = join(folder, String(pid));
      rmSync(file, { force: true });
      process.kill(pid, "SIGUSR2");
      for (let tries = 0; tries < 1000 && !existsSync(file); tries += 1) await pause(10);
      return JSON.parse(readFileSync(file, "utf8")) as Memory;
    },
  };
}
