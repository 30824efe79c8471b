/** Speaks to a daemon's control socket: HTTP for what is well put, raw bytes for the rest. */

import { connect } from "node:net";
import { askDaemon } from "../../src/control/client.ts";
import { runCommand, type Ran } from "./cli.ts";
import type { RunningDaemon } from "./daemon.ts";

/** Asks the daemon over HTTP. */
export async function control(
  daemon: RunningDaemon,
  method: string,
  path: string,
  body?: Readonly<Record<string, unknown>>,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await askDaemon(daemon.controlSocket, method, path, body);
  return { status: answer.status, body: answer.body as Record<string, unknown> };
}

/** Runs a command of the program against the daemon. */
export async function command(daemon: RunningDaemon, name: string, ...args: string[]): Promise<Ran> {
  return await runCommand([name, "-c", daemon.configFile, "--control-socket", daemon.controlSocket, ...args]);
}

/** Writes bytes to the socket and gives what comes back until it is closed. */
export async function rawControl(path: string, bytes: string | Buffer, isEnded = false): Promise<string> {
  return await new Promise((resolve) => {
    const socket = connect(path);
    let text = "";
    socket.on("connect", () => {
      socket.write(bytes);
      if (isEnded) socket.end();
    });
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text));
  });
}
