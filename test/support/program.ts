/** Runs real programs for tests: to their end, or in the background until their test ends. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

export interface Finished {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a program to its end, at most a minute. */
export async function run(
  file: string,
  args: readonly string[],
  input: string | Buffer = "",
): Promise<Finished> {
  const child = spawn(file, args, { timeout: 60_000 });
  const said = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => (said.out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said.err += chunk.toString()));
  child.stdin.on("error", () => undefined); // it may end without reading
  child.stdin.end(input);
  const [status] = (await once(child, "close")) as [number | null];
  return { status, ...said };
}

/** Starts a server in the foreground of a process of ours, and ends it with the test. */
export function startServer(
  t: TestContext,
  file: string,
  args: readonly string[],
): ChildProcess & { said: string } {
  const child = Object.assign(spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] }), { said: "" });
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => (child.said += chunk.toString()));
  const exited = once(child, "exit");
  t.after(async () => {
    child.kill("SIGTERM");
    const limit = setTimeout(() => child.kill("SIGKILL"), 5000);
    await exited;
    clearTimeout(limit);
  });
  return child;
}

/** Starts test/pack/echo.mjs, a backend in a process of its own; gives its address. */
export async function startEchoProcess(t: TestContext): Promise<string> {
  const port = await freePort();
  const program = fileURLToPath(new URL("../pack/echo.mjs", import.meta.url));
  const server = startServer(t, process.execPath, [program, String(port)]);
  await answering(port, server);
  return `127.0.0.1:${port}`;
}

/** Fails loudly where a program is missing: the tests with real peers need them. */
export function needPrograms(...files: readonly string[]): void {
  const missing = files.filter((file) => !existsSync(file));
  if (missing.length > 0) throw new Error(`missing: ${missing.join(", ")}; run test/peers.sh as root`);
}

/** A port of 127.0.0.1 that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until somebody accepts on a port, as long as the server lives; ten seconds at most. */
export async function answering(port: number, server: ChildProcess & { said: string }): Promise<void> {
  const until = Date.now() + 10_000;
  while (!(await accepts(port))) {
    if (server.exitCode !== null || Date.now() > until)
      throw new Error(`nobody answers on ${port}: ${server.said}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

async function accepts(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => resolve(false));
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}
