/** Steady load: so many new connections a second, each asking one question, until it is stopped. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { talk } from "./peers.ts";

/** What became of the connections. */
export interface LoadResult {
  readonly answered: number;
  /** How those that were not answered ended, counted by their error. */
  readonly failed: Readonly<Record<string, number>>;
}

/** Starts it; the function that comes back stops it and waits for the last answer. */
export function startLoad(
  t: TestContext,
  port: number,
  perSecond: number,
  from = "127.0.0.1",
): () => Promise<LoadResult> {
  let answered = 0;
  const failed: Record<string, number> = {};
  const open = new Set<Promise<void>>();
  const one = async (): Promise<void> => {
    const { text, end } = await talk(port, { say: "?", from });
    if (text === "?" && end === "end") answered += 1;
    else failed[end] = (failed[end] ?? 0) + 1;
  };
  const timer = setInterval(() => {
    const asked = one().finally(() => open.delete(asked));
    open.add(asked);
  }, 1000 / perSecond);
  t.after(() => clearInterval(timer));
  return async () => {
    clearInterval(timer);
    await Promise.all(open);
    return { answered, failed };
  };
}

/** What a load from a process of its own says at its end; see test/pack/load.mjs. */
export interface LoadSummary {
  /** "connections 4711, sessions cut 0, connections refused 0", and how, where one was not served. */
  readonly line: string;
  readonly connections: number;
  readonly cut: number;
  readonly refused: number;
  /** The rate that the connections really came at. */
  readonly perSecond: number;
}

/** Reads what the load has printed. Throws where it is something else. */
export function readLoadSummary(said: string): LoadSummary {
  const [, line = "", connections, cut, refused, perSecond] =
    /^(connections (\d+), sessions cut (\d+), connections refused (\d+).*)\noffered (\S+) connections a second$/.exec(
      said.trim(),
    ) ?? [];
  if (perSecond === undefined) throw new Error(`the load has not ended well: ${said}`);
  return {
    line,
    connections: Number(connections),
    cut: Number(cut),
    refused: Number(refused),
    perSecond: Number(perSecond),
  };
}

/** The same from a process of its own, so that a busy test does not slow it down; beside it, sessions that stay and talk. */
export function startLoadProcess(
  t: TestContext,
  port: number,
  { sessions, perSecond, from = "127.0.0.1" }: { sessions: number; perSecond: number; from?: string },
): () => Promise<LoadSummary> {
  const program = fileURLToPath(new URL("../pack/load.mjs", import.meta.url));
  const load = spawn(process.execPath, [program, String(port), String(sessions), String(perSecond), from]);
  let said = "";
  for (const stream of [load.stdout, load.stderr])
    stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
  t.after(() => load.kill("SIGKILL"));
  return async () => {
    const closed = once(load, "close");
    load.stdin.end();
    await closed;
    return readLoadSummary(said);
  };
}
