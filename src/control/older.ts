/** The workers of earlier daemons, which serve their sessions to the end, and what they answer about these. */

import { join } from "node:path";
import { z } from "zod";
import type { OpenSession } from "../record/entry.ts";
import type { SessionsApi } from "./api.ts";
import { askDaemon, isNobody, NoDaemon } from "./client.ts";
import { isOlderFolder, olderSockets, removeSocket, withSocket } from "./older-folder.ts";
import { type ControlServer, openControl, sessionRoutes } from "./server.ts";

/** A worker that has outlived its daemon. */
export interface OlderWorker {
  readonly pid: number;
  /** Undefined where it does not answer. */
  readonly sessions: readonly OpenSession[] | undefined;
}

/** Bounds of what they can make us do: for one answer, and for all of them together. */
const bounds = { answerMs: 500, answerBytes: 16 * 1024 * 1024, allMs: 1000 } as const;

/**
 * Answers for one worker that has just outlived its daemon.
 *
 * @param uids who the folder may belong to
 *
 * Rejects where the folder is not there, or is open to others.
 */
export async function answerAsOlder(
  folder: string,
  uids: readonly number[],
  pid: number,
  api: SessionsApi,
  onTrouble: (message: string) => void,
): Promise<ControlServer> {
  if (!isOlderFolder(folder, uids)) throw new Error(`${folder} is no folder that only we may enter`);
  const path = join(folder, String(pid));
  return await openControl({ api, routes: sessionRoutes, path, mode: 0o660, onTrouble });
}

/** Asks those of one folder, one after another; any of them may be in foreign hands, or hang. */
export class OlderWorkers {
  readonly #folder: string;
  readonly #uids: readonly number[];

  /** @param uids who the folder, and the sockets in it, may belong to */
  constructor(folder: string, uids: readonly number[]) {
    this.#folder = folder;
    this.#uids = uids;
  }

  /** All that have a socket, with their sessions. Never rejects. */
  async reports(): Promise<OlderWorker[]> {
    const reports: OlderWorker[] = [];
    await this.#askAll("GET", "/v1/sessions", (pid, answer) => {
      if (answer !== "nobody") reports.push({ pid, sessions: answer && sessionsIn(answer.body) });
    });
    return reports;
  }

  /** Cuts one session; false when none of them has one of that id. Never rejects. */
  async kick(id: string): Promise<boolean> {
    let isKicked = false;
    await this.#askAll("DELETE", `/v1/sessions/${encodeURIComponent(id)}`, (_pid, answer) => {
      const { body } = typeof answer === "object" ? answer : {};
      if (typeof body === "object" && body !== null && "kicked" in body && body.kicked === id)
        isKicked = true;
    });
    return isKicked;
  }

  /** @param hear gets undefined for one that does not answer, or not in time */
  async #askAll(
    method: string,
    path: string,
    hear: (pid: number, answer: { readonly body: unknown } | "nobody" | undefined) => void,
  ): Promise<void> {
    const untilMs = performance.now() + bounds.allMs;
    for (const pid of olderSockets(this.#folder, this.#uids)) {
      const leftMs = Math.ceil(untilMs - performance.now());
      if (leftMs <= 0) hear(pid, undefined);
      else hear(pid, await this.#ask(pid, method, path, Math.min(leftMs, bounds.answerMs)));
    }
  }

  /** A socket that nobody listens on is removed. */
  async #ask(pid: number, method: string, path: string, answerMs: number) {
    const { answerBytes } = bounds;
    return await withSocket(this.#folder, pid, this.#uids, async (socket) => {
      try {
        return await askDaemon(socket, method, path, undefined, { answerMs, answerBytes });
      } catch (cause) {
        if (!(cause instanceof NoDaemon)) throw cause;
        if (!isNobody(cause)) return undefined;
        removeSocket(this.#folder, pid);
        return "nobody" as const;
      }
    });
  }
}

const place = z.object({ address: z.string(), port: z.number().optional() });
const side = place.extend({
  name: z.string().optional(),
  nameStatus: z.string().optional(),
  user: z.string().optional(),
});

/** What of a session is told on; the rest, and what is of another kind, is left out. */
const session = z.object({
  id: z.string().regex(/^[A-Za-z0-9]{1,64}$/),
  service: z.string(),
  daemon: z.string(),
  client: side,
  server: side,
  transport: z.literal("udp").optional(),
  proxy: place.optional(),
  state: z.enum(["deciding", "accepted", "twisted"]),
  acceptedAt: z.string(),
  ageMs: z.number(),
  rule: z.object({ file: z.string(), line: z.number() }).optional(),
  backend: z.string().optional(),
  backendFrom: z.object({ address: z.string(), port: z.number() }).optional(),
  traffic: z.object({ upBytes: z.number(), downBytes: z.number() }).optional(),
});

function sessionsIn(body: unknown): readonly OpenSession[] {
  const { data } = z.object({ sessions: z.array(z.unknown()) }).safeParse(body);
  const sessions: OpenSession[] = [];
  for (const each of data?.sessions ?? []) {
    const read = session.safeParse(each);
    // Who writes one that does not read is no worker of ours, and may have written a million of them.
    if (!read.success) break;
    sessions.push(read.data as OpenSession);
  }
  return sessions;
}
