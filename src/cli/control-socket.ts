/** The control socket of a running daemon, where it can be had. */

import type { Settings } from "../config/schema.ts";
import { schema } from "../config/schema.ts";
import type { ControlApi } from "../control/api.ts";
import { olderFolder, prepareOlderFolder } from "../control/older-folder.ts";
import { type ControlServer, openControl, routes } from "../control/server.ts";
import { effectiveOwner } from "../platform/process.ts";
import type { Journal } from "../record/journal.ts";

/** A control socket that was asked for by name and cannot be made. */
class ControlError extends Error {
  override readonly name = "ControlError";
  readonly hint = "its folder must exist, and belong to the daemon; see control.socket";
}

const { socket: defaultSocket } = schema.parse({}).control;

/** Opens once, closes once. */
export class ControlSocket {
  readonly #settings: Settings["control"];
  readonly #journal: Journal;
  #server: ControlServer | undefined;

  constructor(settings: Settings["control"], journal: Journal) {
    this.#settings = settings;
    this.#journal = journal;
  }

  /**
   * A default path that cannot be had is worth a warning; rejects with a `ControlError` for one that was asked for.
   *
   * @param workerUid of workers that have processes of their own, and may outlive us; undefined = none has
   */
  async open(api: ControlApi, workerUid: number | undefined): Promise<void> {
    const { socket: path, owner, group } = this.#settings;
    const warn = (code: string) => (message: string) => this.#journal.warn({ code, message });
    try {
      this.#server = await openControl({
        api,
        routes,
        path,
        mode: 0o660,
        ...(owner !== undefined && { owner }),
        ...(group !== undefined && { group }),
        onTrouble: warn("control"),
      });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const message = `no control socket on ${path}: ${reason}`;
      if (path !== defaultSocket) throw new ControlError(message, { cause });
      warn("no-control-socket")(`${message}; status, sessions, reload and their like do not work`);
      return;
    }
    if (workerUid === undefined) return;
    try {
      prepareOlderFolder(olderFolder(path), effectiveOwner(), workerUid);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      warn("no-older-workers")(`after a restart "sessions" will not show those of today: ${reason}`);
    }
  }

  close(): void {
    this.#server?.close();
  }
}
