/**
 * What a silent DNS server costs those whom no name rule concerns: npm run bench:names [-- --rounds N].
 *
 * Two daemons take turns, one that never looks names up and one that looks up every client (`names.reverse: always`) at a
 * server that never answers. Prints the median rates and their ratio, and how long a client waits whose rule wants the name.
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { freePort } from "./relay-peers.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "7" } } });
const folder = mkdtempSync(join(tmpdir(), "bench-names-"));
const children: ChildProcess[] = [];
const silent = createSocket("udp4").bind(0, "127.0.0.1");
try {
  await once(silent, "listening");
  await measure();
} finally {
  for (const child of children) child.kill("SIGKILL");
  silent.close();
  rmSync(folder, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  const load = join(folder, "load");
  execFileSync("cc", ["-O2", "-pthread", "-o", load, join(import.meta.dirname, "load/load.c")]);
  const backend = await freePort();
  const echo = spawn(load, ["backend", String(backend)], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(echo);
  await once(echo.stdout, "data");
  const ports = {
    off: await startDaemon("off", backend, "reverse: never", "x: ALL\n"),
    silent: await startDaemon("silent", backend, "reverse: always", "x: ALL\n"),
    asking: await startDaemon("asking", backend, "reverse: needed", "x: .example\n"),
  };
  const rate = (port: number): number => {
    const said = JSON.parse(
      execFileSync(load, ["conns", String(port), "2", "16"], { encoding: "utf8" }),
    ) as Rate;
    return said.count / said.seconds;
  };
  for (const port of [ports.off, ports.silent]) rate(port); // warm up
  const rates = { off: [] as number[], silent: [] as number[] };
  for (let round = 0; round < Number(values.rounds); round += 1) {
    rates.off.push(rate(ports.off));
    rates.silent.push(rate(ports.silent));
  }
  const waits: number[] = [];
  for (let client = 1; client <= 9; client += 1) waits.push(await waitOf(ports.asking, `127.9.0.${client}`));
  const [off, quiet] = [median(rates.off), median(rates.silent)];
  console.log(
    `${cpus()[0]?.model ?? "?"}, ${cpus().length} processors, Node ${process.versions.node}, ${values.rounds} rounds`,
  );
  console.log(
    `connections a second without DNS ${off.toFixed(0)}, with DNS silent ${quiet.toFixed(0)}, ratio ${(quiet / off).toFixed(3)}`,
  );
  console.log(
    `a client whose rule wants the name waits ${median(waits).toFixed(0)} ms (names.timeout is 1000 ms)`,
  );
}

interface Rate {
  readonly seconds: number;
  readonly count: number;
}

/** Starts a daemon before the backend; gives its port. */
async function startDaemon(name: string, backend: number, names: string, allow: string): Promise<number> {
  const path = (end: string): string => join(folder, `${name}.${end}`);
  const { port } = silent.address();
  writeFileSync(path("allow"), allow);
  writeFileSync(path("deny"), "ALL: ALL\n");
  writeFileSync(
    path("yaml"),
    `names: {${names}, servers: ["127.0.0.1:${port}"], timeout: 1s}\ncontrol: {socket: ${path("sock")}}\n`,
  );
  const listen = await freePort();
  const main = join(import.meta.dirname, "../../dist/main.js");
  const tables = ["--allow-file", path("allow"), "--deny-file", path("deny")];
  const service = ["--service", `x=127.0.0.1:${listen},127.0.0.1:${backend}`];
  const args = [main, "run", "-c", path("yaml"), ...tables, ...service];
  const daemon = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.push(daemon);
  await new Promise<void>((resolve) => {
    createInterface({ input: daemon.stdout }).on("line", (line) => {
      if (line.includes("ready")) resolve();
    });
  });
  return listen;
}

/** Milliseconds until a client is reset. */
async function waitOf(port: number, from: string): Promise<number> {
  const start = performance.now();
  const client = connect({ port, host: "127.0.0.1", localAddress: from });
  client.on("error", () => undefined);
  client.resume();
  await new Promise((resolve) => client.once("close", resolve));
  return performance.now() - start;
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
