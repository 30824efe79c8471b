/** Gives a client's connection to a program, for good. */
import type { Socket } from "node:net";
import type { Program, ProgramEnd, Programs, Running } from "../platform/commands.ts";

/** After SIGTERM, a program that is told to end has so long before SIGKILL. */
const KILL_AFTER_MS = 5000;

/**
 * Starts a program with the client's connection as descriptors 0 and 1 and closes our copy: the program has the true peer, what
 * the client has sent already, and a descriptor in blocking mode, as from inetd.
 *
 * @param client accepted, paused, nothing read from it into this process
 * @param signal ends the program: SIGTERM to its group, SIGKILL later
 * @returns how the program ended
 *
 * Rejects when the program could not be started; the client is then still ours to refuse.
 */
export async function serveBy(
  program: Program,
  client: Socket,
  options: { readonly programs: Programs; readonly signal?: AbortSignal },
): Promise<ProgramEnd> {
  // Bytes in our memory cannot be put back into the kernel: the program would start in the middle of the conversation.
  if (client.readableLength > 0)
    throw new Error("the client spoke first, and what it said has been read in search of a PROXY header");
  if (client.writableLength > 0) throw new Error("bytes for the client are still unsent");
  const running = await options.programs.start({ ...program, connection: client });
  client.destroy();
  const stop = stopper(running);
  if (options.signal?.aborted === true) stop.begin();
  else options.signal?.addEventListener("abort", stop.begin);
  try {
    return await running.ended;
  } finally {
    options.signal?.removeEventListener("abort", stop.begin);
    stop.finish();
  }
}

function stopper(running: Running): { begin: () => void; finish: () => void } {
  let later: NodeJS.Timeout | undefined;
  return {
    begin: () => {
      running.kill("SIGTERM");
      later = setTimeout(() => running.kill("SIGKILL"), KILL_AFTER_MS);
    },
    finish: () => clearTimeout(later),
  };
}
