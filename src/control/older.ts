/**
 * The workers of earlier daemons, which serve their sessions to the end: each answers on a socket of its own, by the number of its
 * process, in one folder beside the control socket.
 */

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import type { Owner } from "../platform/process.ts";
import type { OpenSession } from "../record/entry.ts";
import type { SessionsApi } from "./api.ts";
import { askDaemon, isNobody, NoDaemon } from "./client.ts";
import { type ControlServer, openControl, sessionRoutes } from "./server.ts";

/** A worker that has outlived its daemon. */
export interface OlderWorker {
  readonly pid: number;
  readonly sessions: readonly OpenSession[];
}

/** Bounds of what the folder can make us do: what is in it is the workers' own. */
const bounds = { workers: 64, answerMs: 2000, answerBytes: 64 * 1024 * 1024 } as const;

/** Where the workers of the daemon with this control socket answer, once they have outlived it. */
export function olderFolder(controlSocket: string): string {
  return `${controlSocket}.older`;
}

/**
 * Makes the folder, for us and for workers that run as `workerUid`, and for nobody else.
 *
 * A root that may not do everything (CapabilityBoundingSet=) reaches the sockets by the group, which they have from their folder.
 *
 * @throws when it cannot be made, or is there and belongs to somebody else
 */
export function prepareOlderFolder(folder: string, own: Owner, workerUid: number): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // By descriptor: nobody can put something else in its place between two of these steps.
  const descriptor = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const { uid } = fstatSync(descriptor);
    if (uid !== own.uid && uid !== workerUid) throw new Error(`${folder} is there, and not ours`);
    if (uid !== workerUid) fchownSync(descriptor, workerUid, own.gid);
    fchmodSync(descriptor, workerUid === own.uid ? 0o700 : 0o2770);
  } finally {
    closeSync(descriptor);
  }
}

/** Answers for one worker that has just outlived its daemon; rejects where the folder does not allow it. */
export async function answerAsOlder(
  folder: string,
  pid: number,
  api: SessionsApi,
  onTrouble: (message: string) => void,
): Promise<ControlServer> {
  const path = join(folder, String(pid));
  return await openControl({ api, routes: sessionRoutes, path, mode: 0o660, onTrouble });
}

/** Asks those of one folder. */
export class OlderWorkers {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Those that answer, with their sessions. Never rejects. */
  async reports(): Promise<OlderWorker[]> {
    const answers = await Promise.all(
      this.#pids().map(async (pid) => {
        const body = await this.#ask(pid, "GET", "/v1/sessions");
        return body === undefined ? [] : [{ pid, sessions: sessionsIn(body) }];
      }),
    );
    return answers.flat();
  }

  /** Cuts one session; false when none of them has one of that id. Never rejects. */
  async kick(id: string): Promise<boolean> {
    const path = `/v1/sessions/${encodeURIComponent(id)}`;
    const answers = await Promise.all(this.#pids().map((pid) => this.#ask(pid, "DELETE", path)));
    return answers.some(
      (body) => typeof body === "object" && body !== null && "kicked" in body && body.kicked === id,
    );
  }

  #pids(): readonly number[] {
    try {
      const names = readdirSync(this.#folder).filter((name) => /^[1-9]\d{0,9}$/.test(name));
      return names.slice(0, bounds.workers).map(Number);
    } catch {
      // No folder, no workers.
      return [];
    }
  }

  /** Undefined where it does not answer, or knows no such thing. A socket that nobody listens on is removed. */
  async #ask(pid: number, method: string, path: string): Promise<unknown> {
    const socket = join(this.#folder, String(pid));
    try {
      const { status, body } = await askDaemon(socket, method, path, undefined, bounds);
      return status === 200 ? body : undefined;
    } catch (cause) {
      if (!(cause instanceof NoDaemon)) throw cause;
      if (isNobody(cause)) removeSocket(socket);
      return undefined;
    }
  }
}

/** A worker that was killed has left it there. */
function removeSocket(path: string): void {
  try {
    if (lstatSync(path).isSocket()) unlinkSync(path);
  } catch {
    // Somebody else has removed it, or nobody may: it is no worker that answers.
  }
}

/** A worker may be in foreign hands: what does not look like a session is left out. */
function sessionsIn(body: unknown): readonly OpenSession[] {
  if (typeof body !== "object" || body === null || !("sessions" in body)) return [];
  return Array.isArray(body.sessions) ? body.sessions.filter(isSession) : [];
}

function isSession(value: unknown): value is OpenSession {
  if (typeof value !== "object" || value === null) return false;
  const { id, service, state, client, ageMs } = value as Partial<Record<keyof OpenSession, unknown>>;
  return (
    typeof id === "string" &&
    typeof service === "string" &&
    typeof state === "string" &&
    typeof ageMs === "number" &&
    typeof client === "object" &&
    client !== null &&
    "address" in client &&
    typeof client.address === "string"
  );
}
