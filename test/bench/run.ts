/**
 * The relay against its peers: npm run bench [-- --rounds N --peers a,b --measures x,y --node FILE].
 *
 * Starts everything itself on loopback, checks the answers before it times them, interleaves the rounds, and prints
 * medians and ratios.
 */

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { freePort, start, starters, usage, type Lab, type Peer } from "./relay-peers.ts";

/** Figures of one measure, by name; "cpu" is processor time of the peer, in the unit the name says. */
type Figures = Readonly<Record<string, number>>;

interface Measure {
  readonly title: string;
  /** Arguments for the load program. */
  readonly args: (peer: Peer) => readonly string[];
  readonly port: (peer: Peer) => number | undefined;
  readonly figures: (said: Readonly<Record<string, number>>, cpuSeconds: number) => Figures;
}

const GiB = 2 ** 30;

const allowed = (peer: Peer): number => peer.port;
const streaming = (peer: Peer): number | undefined => (peer.echoOnly ? undefined : peer.port);

function bulk(streams: number): Measure {
  return {
    title: `bulk, ${streams} stream${streams > 1 ? "s" : ""}`,
    args: () => ["bulk", `${streams}`, `${GiB / streams}`],
    port: streaming,
    figures: ({ seconds = 0, bytes = 0 }, cpu) => ({
      "GiB/s": bytes / GiB / seconds,
      "cpu s/GiB": (cpu * GiB) / bytes,
    }),
  };
}

function roundTrip(connections: number): Measure {
  return {
    title: `round trip 64 B, ${connections} connection${connections > 1 ? "s" : ""}`,
    args: () => ["rtt", `${connections}`, "1.5"],
    port: allowed,
    figures: ({ count = 0, p50us = 0, p99us = 0 }, cpu) => ({
      "p50 µs": p50us,
      "p99 µs": p99us,
      "cpu µs each": (cpu * 1e6) / count,
    }),
  };
}

const perSecond: Measure["figures"] = ({ seconds = 0, count = 0 }, cpu) => ({
  "per second": count / seconds,
  "cpu µs each": (cpu * 1e6) / count,
});

const measures: Readonly<Record<string, Measure>> = {
  bulk1: bulk(1),
  bulk8: bulk(8),
  rtt1: roundTrip(1),
  rtt100: roundTrip(100),
  connections: {
    title: "connections, allowed",
    args: () => ["conns", "2", "16"],
    port: allowed,
    figures: perSecond,
  },
  refused: {
    title: "connections, refused",
    args: () => ["refused", "2", "16"],
    port: ({ refusedPort }) => refusedPort,
    figures: perSecond,
  },
};

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    peers: { type: "string", default: Object.keys(starters).join(",") },
    measures: { type: "string", default: [...Object.keys(measures), "memory"].join(",") },
    node: { type: "string", default: process.execPath },
    main: { type: "string", default: join(import.meta.dirname, "../../dist/main.js") },
  },
});

await run();

async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  const children: ChildProcess[] = [];
  try {
    const load = join(folder, "load");
    const source = join(import.meta.dirname, "load/load.c");
    execFileSync("cc", ["-O2", "-pthread", "-o", load, source], { stdio: "inherit" });
    if (!existsSync(values.main)) throw new Error(`${values.main} is missing; npm run build`);
    const backendPort = await freePort();
    const lab: Lab = { folder, load, backendPort, node: values.node, main: values.main, children };
    await start(lab, load, ["backend", `${backendPort}`], backendPort);
    const peers: Peer[] = [];
    for (const name of values.peers.split(",")) {
      const peer = await starters[name]?.(lab);
      if (peer) peers.push(peer);
      else console.log(`left out, not installed: ${name}`);
    }
    print(
      `${cpus()[0]?.model ?? "?"}, ${cpus().length} processors, Linux ${release()}, ${values.rounds} rounds`,
    );
    print(peers.map(({ name, version }) => `${name}${version && ` (${version})`}`).join(", "));
    for (const peer of peers) check(lab, peer);
    const wanted = values.measures.split(",");
    for (const [name, measure] of Object.entries(measures)) {
      if (wanted.includes(name)) table(measure.title, rounds(lab, measure, peers));
    }
    if (wanted.includes("memory")) table("memory of an idle session", await memory(lab, peers));
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Every byte of two streams, and echoes: a wrong answer ends the whole run. */
function check(lab: Lab, peer: Peer): void {
  if (!peer.echoOnly) ask(lab, ["bulk", "2", "30000001"], peer.port, ["check"]);
  ask(lab, ["rtt", "2", "0.2"], peer.port);
}

/** All rounds of one measure, peers taking turns: a slow minute of the machine is everybody's. */
function rounds(lab: Lab, measure: Measure, peers: readonly Peer[]): ReadonlyMap<string, readonly Figures[]> {
  const found = new Map<string, Figures[]>();
  // The first round only warms: programs compile and grow buffers.
  for (let round = -1; round < Number(values.rounds); round += 1) {
    for (const peer of peers) {
      const port = measure.port(peer);
      if (port === undefined) continue;
      const before = peer.pid === undefined ? 0 : usage(peer.pid).seconds;
      const said = ask(lab, measure.args(peer), port);
      const cpu = peer.pid === undefined ? 0 : usage(peer.pid).seconds - before;
      if (round >= 0) found.set(peer.name, [...(found.get(peer.name) ?? []), measure.figures(said, cpu)]);
    }
  }
  return found;
}

/** What thousands of open and silent sessions add to a peer's own memory. */
async function memory(lab: Lab, peers: readonly Peer[]): Promise<ReadonlyMap<string, readonly Figures[]>> {
  const found = new Map<string, Figures[]>();
  for (const peer of peers) {
    if (peer.pid === undefined) continue;
    const sessions = peer.forks ? 100 : 3500;
    // What a program keeps once and for all after its first thousands of sessions is not a session's.
    ask(lab, ["conns", "2", "16"], peer.port);
    const before = usage(peer.pid).bytes;
    const holder = spawn(lab.load, ["idle", `${peer.port}`, `${sessions}`], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    lab.children.push(holder);
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    await new Promise((resolve) => setTimeout(resolve, 3000));
    found.set(peer.name, [{ "KiB each": (usage(peer.pid).bytes - before) / sessions / 1024 }]);
    holder.stdin.end();
    await new Promise((resolve) => holder.once("exit", resolve));
  }
  return found;
}

function ask(
  lab: Lab,
  [what = "", ...args]: readonly string[],
  port: number,
  more: readonly string[] = [],
): Readonly<Record<string, number>> {
  const said = execFileSync(lab.load, [what, `${port}`, ...args, ...more], {
    encoding: "utf8",
    timeout: 120_000,
  });
  return JSON.parse(said) as Record<string, number>;
}

function table(title: string, found: ReadonlyMap<string, readonly Figures[]>): void {
  const names = Object.keys([...found.values()][0]?.[0] ?? {});
  const middle = (peer: string, name: string): number =>
    median((found.get(peer) ?? []).map((each) => each[name] ?? 0));
  print(`\n${title}\n`);
  print(`| | ${names.join(" | ")} | ${names.map((name) => `${name} / haproxy`).join(" | ")} |`);
  print(`|---|${"---:|".repeat(2 * names.length)}`);
  for (const peer of found.keys()) {
    const own = names.map((name) => middle(peer, name));
    const ratios = names.map((name, at) => (own[at] ?? 0) / middle("haproxy", name));
    print(
      `| ${peer} | ${own.map(round).join(" | ")} | ${ratios.map((ratio) => ratio.toFixed(2)).join(" | ")} |`,
    );
  }
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function round(figure: number): string {
  return figure >= 100 ? figure.toFixed(0) : figure.toPrecision(3);
}

function print(line: string): void {
  console.log(line);
}
