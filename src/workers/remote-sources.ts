/** Lets the supervisor make sockets from clients' own addresses for a worker that has given up the right to: both ends of it. */

import type { Socket } from "node:net";
import { WithHandle } from "../platform/channel.ts";
import { receivedUnconnected, sendableOf } from "../platform/handed-sockets.ts";
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

/** The supervisor's end. */
export const sourceAnswers = {
  openFrom: async ({
    address,
    target,
  }: SourceCalls["openFrom"]["argument"]): Promise<WithHandle<undefined>> => {
    const open = await loadTransparent();
    const socket = open(address, target);
    return new WithHandle(undefined, sendableOf(socket), () => socket.destroy());
  },
};
