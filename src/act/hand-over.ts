/** Hands an allowed client over to a program, inetd style: the service has no backend, it has `exec`. */
import type { Socket } from "node:net";
import type { Request } from "../access/types.ts";
import type { ProgramEnd, Programs } from "../platform/commands.ts";
import { reasonOf } from "./reason.ts";
import { reset } from "../platform/reset.ts";
import type { RefusalKind, Refusals } from "./refuse.ts";
import { serveBy } from "./serve-by.ts";
import { TooManyStarts } from "./start-rate.ts";

/** What a hand-over takes. */
export interface HandOverPorts {
  /** Behind `limitStarts`, so that a flood of clients is refused and not forked for. */
  readonly programs: Programs;
  readonly refusals: Refusals;
  /** How this service ends the clients that come too fast. */
  readonly refusal: RefusalKind;
  /** Gets the program's descriptor 2 line by line; the text is the program's, so it is escaped there. */
  readonly warn: (message: string) => void;
  /** Ends the program before its time. */
  readonly signal?: AbortSignal;
}

/** How a hand-over went. */
export type HandedOver =
  | { readonly kind: "served"; readonly end: ProgramEnd }
  /** Too many starts: the client has been ended in the service's way. `gone`: when it has left. */
  | { readonly kind: "refused"; readonly detail: string; readonly gone: Promise<void> }
  /** The program could not be started, so the client was reset. */
  | { readonly kind: "failed"; readonly detail: string };

/**
 * Starts the program with the client's connection as 0 and 1 and waits for its end. It sees the true client, so it logs and limits by
 * it. Its environment is PATH, and REMOTE_ADDR and REMOTE_PORT as systemd gives them to a service of its own.
 *
 * @param exec the program by absolute path, and its arguments; no shell reads them
 * @param client accepted, paused, nothing read from it into this process
 *
 * Never rejects.
 */
export async function handOver(
  exec: readonly [file: string, ...args: string[]],
  client: Socket,
  request: Request,
  ports: HandOverPorts,
): Promise<HandedOver> {
  const { refusals, refusal, warn } = ports;
  try {
    return {
      kind: "served",
      end: await serveBy({ argv: exec, environment: origin(request), onErrorOutput: warn }, client, ports),
    };
  } catch (error) {
    const detail = `${exec[0]}: ${reasonOf(error)}`;
    if (error instanceof TooManyStarts)
      return { kind: "refused", detail, gone: refusals.refuse(client, refusal) };
    reset(client);
    return { kind: "failed", detail };
  }
}

function origin({ client }: Request): Record<string, string> {
  return {
    REMOTE_ADDR: client.address,
    ...(client.port === undefined ? {} : { REMOTE_PORT: String(client.port) }),
  };
}
