/** Lets the supervisor make sockets from clients' own addresses for a worker that has given up the right to: both ends of it. */

import type { Socket } from "node:net";
import { WithHandle } from "../platform/channel.ts";
import { receivedUnconnected, sendableOf } from "../platform/handed-sockets.ts";
import type { Policy } from "../policy.ts";
import { loadTransparent, type OpenFrom, TransparentError } from "../relay/transparent.ts";

/** What a worker asks of its supervisor; the socket comes beside the answer. */
export type SourceCalls = {
  readonly openFrom: { argument: { address: string; target: string }; answer: undefined };
};

/** The worker's end. */
export function remoteSources(
  askForHandle: (name: "openFrom", argument: SourceCalls["openFrom"]["argument"]) => Promise<unknown>,
): OpenFrom {
  return async (address, target) => {
    let socket: Socket | undefined;
    try {
      socket = receivedUnconnected(await askForHandle("openFrom", { address, target }));
    } catch (cause) {
      const code = cause instanceof Error && "code" in cause ? String(cause.code) : "EPIPE";
      throw new TransparentError(code, cause instanceof Error ? cause.message : String(cause), cause);
    }
    if (socket === undefined) throw new TransparentError("EPIPE", "the supervisor has sent no socket");
    return socket;
  };
}

/**
 * The supervisor's end: makes such sockets where a service has `source: client`, and nowhere else.
 *
 * Which backend they connect to is not in its hands: Node connects in the process that has the socket, the worker.
 */
export class AllowedSources {
  #isAllowed = false;

  /** What is to be allowed from now on, beside what was before: a worker may have decided by that a moment ago. */
  use({ settings }: Policy): void {
    if (Object.values(settings.services).some(({ source }) => source === "client")) this.#isAllowed = true;
  }

  /** Rejects with a `TransparentError`, where nobody has asked for such sockets with the code EPERM. */
  async openFrom({ address, target }: SourceCalls["openFrom"]["argument"]): Promise<WithHandle<undefined>> {
    if (!this.#isAllowed) throw new TransparentError("EPERM", "no service has source: client");
    const open = await loadTransparent();
    const socket = open(address, target);
    return new WithHandle(undefined, sendableOf(socket), () => socket.destroy());
  }
}
