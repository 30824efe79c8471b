/**
 * The relay against its peers: npm run bench [-- --rounds N --peers a,b --measures x,y --node FILE --keep FILE ...].
 *
 * Starts everything itself on loopback, checks the answers before it times them, lets the peers take turns, and prints
 * medians and ratios as markdown; what it is doing goes to standard error.
 *
 * `--keep FILE` adds the figures to those of earlier runs in FILE, and prints the tables of all of them.
 * `--congestion reno` measures in a network namespace of its own with that congestion control: "bbr" paces what it
 * sends even on loopback, and then it is the sender's clock that is measured.
 * `--pin` gives the peers one processor and the load the others, so that one does not take the other's time.
 */

import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { measures, memory, type Figures, type Measure } from "./measures.ts";
import { freePort, start, starters, type Lab, type Peer } from "./relay-peers.ts";
import { report, type Found } from "./report.ts";
import { killFamily, machineSeconds, memoryBytes, processorSeconds } from "./usage.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    peers: { type: "string", default: Object.keys(starters).join(",") },
    measures: { type: "string", default: [...Object.keys(measures), memory.name].join(",") },
    node: { type: "string", default: process.execPath },
    main: { type: "string", default: join(import.meta.dirname, "../../dist/main.js") },
    pin: { type: "boolean", default: false },
    keep: { type: "string" },
    congestion: { type: "string" },
  },
});

/** So long until the compiler of Node has nothing left to do, on a busy machine too. */
const warmSeconds = 8;

/** A turn in which other programs took more than this of a processor is done again, once, while there is time for it. */
const disturbed = 0.15;
const againMs = 40_000;

const congestionFile = "/proc/sys/net/ipv4/tcp_congestion_control";
const namespaceMark = "BENCH_NAMESPACE";
const startedMs = performance.now();
const asked = values.measures.split(",");
/** Seconds that all turns will take if every guess is right, and of those that are done. */
let planned = 0;
let done = 0;
let measuringSinceMs = startedMs;
let againLeftMs = againMs;
/** Of every turn that counts: what other programs took of the machine's processors, 1 = one of them. */
const others: number[] = [];

if (values.congestion !== undefined && process.env[namespaceMark] === undefined) {
  process.exitCode = runInNamespace(values.congestion);
} else {
  await run();
}

function runInNamespace(congestion: string): number {
  const script = `ip link set lo up && echo ${congestion} >${congestionFile} && exec "$@"`;
  const self = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const env = { ...process.env, [namespaceMark]: "1" };
  return (
    spawnSync("unshare", ["-n", "sh", "-ec", script, "sh", ...self], { stdio: "inherit", env }).status ?? 1
  );
}

async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  const children: ChildProcess[] = [];
  const loadAtStart = loadavg()[0] ?? 0;
  try {
    const load = join(folder, "load");
    const source = join(import.meta.dirname, "load/load.c");
    execFileSync("cc", ["-O2", "-pthread", "-o", load, source], { stdio: "inherit" });
    if (!existsSync(values.main)) throw new Error(`${values.main} is missing; npm run build`);
    const backendPort = await freePort();
    const pinning = values.pin && cpus().length > 1;
    const lab: Lab = {
      folder,
      load,
      backendPort,
      node: values.node,
      main: values.main,
      children,
      peerProcessors: pinning ? "0" : undefined,
      loadProcessors: pinning ? `1-${cpus().length - 1}` : undefined,
    };
    await start(lab, "load", load, ["backend", `${backendPort}`], backendPort);
    const peers: Peer[] = [];
    const missing: string[] = [];
    for (const name of values.peers.split(",")) {
      const starter = starters[name];
      if (starter === undefined) throw new Error(`no such peer: ${name}`);
      progress(`starting ${name}`);
      const peer = await starter(lab);
      if (peer) peers.push(peer);
      else missing.push(name);
    }
    for (const peer of peers) {
      progress(`checking ${peer.name}`);
      check(lab, peer);
    }
    const found = await measureAll(lab, peers);
    const all = values.keep === undefined ? found : keep(values.keep, found);
    const busy = others.reduce((sum, each) => sum + each, 0) / others.length;
    const head = [
      `${cpus()[0]?.model ?? "?"}, ${cpus().length} processors, Linux ${release()}, ${readFileSync(congestionFile, "latin1").trim()}`,
      `${values.rounds} rounds, ${pinning ? "one processor for the peer, the others for the load" : "not pinned"}`,
      peers.map(({ name, version }) => `${name}${version && ` (${version})`}`).join(", "),
      ...(missing.length > 0 ? [`left out, not installed: ${missing.join(", ")}`] : []),
      `load average before ${loadAtStart.toFixed(1)}; other programs took ${busy.toFixed(2)} of a processor meanwhile`,
      `${((performance.now() - startedMs) / 60_000).toFixed(1)} minutes`,
    ];
    console.log(`${head.join("; ")}.\n\n${report(all)}`);
  } finally {
    for (const { pid } of children) if (pid !== undefined) killFamily(pid);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureAll(lab: Lab, peers: readonly Peer[]): Promise<Found> {
  const chosen = Object.entries(measures).filter(([name]) => asked.includes(name));
  const turns = Number(values.rounds) + 1;
  for (const [, measure] of chosen) {
    planned += measure.seconds * turns * peers.filter((peer) => measure.port(peer) !== undefined).length;
  }
  const kept = peers.filter(({ pid }) => pid !== undefined);
  if (asked.includes(memory.name)) planned += memory.seconds * kept.length;
  for (const peer of peers) warm(lab, peer);
  measuringSinceMs = performance.now();
  const found: Record<string, Record<string, Figures[]>> = {};
  for (const [name, measure] of chosen) found[name] = rounds(lab, measure, peers);
  if (asked.includes(memory.name)) found[memory.name] = await memories(lab, kept);
  return found;
}

/** Every byte of two streams, and echoes: a wrong answer ends the whole run. */
function check(lab: Lab, peer: Peer): void {
  if (!peer.echoOnly) ask(lab, ["bulk", "2", "30000001"], peer.port, ["check"]);
  ask(lab, ["rtt", "2", "0.2"], peer.port);
}

/** A daemon has run for longer than its first seconds when somebody asks how fast it is: what compiles has compiled. */
function warm(lab: Lab, peer: Peer): void {
  if (peer.forks || peer.pid === undefined) return;
  progress(`warming ${peer.name}`);
  ask(lab, ["conns", `${warmSeconds}`, "16"], peer.port);
  if (peer.refusedPort !== undefined && asked.includes("refused")) {
    ask(lab, ["refused", `${warmSeconds / 4}`, "16"], peer.refusedPort);
  }
}

/** All rounds of one measure, peers taking turns: a slow minute of the machine is everybody's. */
function rounds(lab: Lab, measure: Measure, peers: readonly Peer[]): Record<string, Figures[]> {
  const found: Record<string, Figures[]> = {};
  const able = peers.flatMap((peer) => {
    const port = measure.port(peer);
    return port === undefined ? [] : [{ peer, port }];
  });
  const speeds = new Map<Peer, number>();
  // The first round only warms.
  for (let round = 0; round <= Number(values.rounds); round += 1) {
    progress(`${measure.title}: ${round === 0 ? "warming round" : `round ${round} of ${values.rounds}`}`);
    // Whoever comes after a slow one must not always be the same.
    const order = round % 2 === 0 ? able : [...able].reverse();
    for (const { peer, port } of order) {
      const figures = turn(lab, measure, peer, port, { counts: round > 0, speeds });
      if (round > 0) (found[peer.name] ??= []).push(figures);
      done += measure.seconds;
    }
  }
  return Object.fromEntries(peers.flatMap(({ name }) => (found[name] ? [[name, found[name]]] : [])));
}

function turn(
  lab: Lab,
  measure: Measure,
  peer: Peer,
  port: number,
  { counts, speeds }: { readonly counts: boolean; readonly speeds: Map<Peer, number> },
): Figures {
  for (let isRepeated = !counts; ; isRepeated = true) {
    const turnMs = performance.now();
    const before = { machine: machineSeconds(), ours: processorSeconds(process.pid), cpu: peerSeconds(peer) };
    const said = ask(lab, [measure.load, ...measure.args(speeds.get(peer))], port);
    const cpu = peerSeconds(peer) - before.cpu;
    const ours = processorSeconds(process.pid) - before.ours;
    const tookMs = performance.now() - turnMs;
    const share = Math.max(0, (machineSeconds() - before.machine - ours) / (tookMs / 1000));
    if (!isRepeated && share > disturbed && againLeftMs > 0) {
      againLeftMs -= tookMs;
      continue;
    }
    if (counts) others.push(share);
    else if (said["bytes"] !== undefined) speeds.set(peer, said["bytes"] / (said["seconds"] ?? 1));
    return measure.figures(said, cpu);
  }
}

function peerSeconds({ pid }: Peer): number {
  return pid === undefined ? 0 : processorSeconds(pid);
}

/** What thousands of open and silent sessions add to a peer's own memory; one round, since a second one finds memory to reuse. */
async function memories(lab: Lab, peers: readonly Peer[]): Promise<Record<string, Figures[]>> {
  const found: Record<string, Figures[]> = {};
  for (const peer of peers) {
    if (peer.pid === undefined) continue;
    progress(`memory of idle sessions: ${peer.name}`);
    const sessions = peer.sessions ?? 3500;
    // What a program keeps once and for all after its first thousands of sessions is not a session's.
    ask(lab, ["conns", "1.2", "16"], peer.port);
    const before = memoryBytes(peer.pid);
    const holder = spawn(lab.load, ["idle", `${peer.port}`, `${sessions}`], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    lab.children.push(holder);
    const ended = once(holder, "exit");
    await Promise.race([
      once(holder.stdout, "data"),
      ended.then(() => Promise.reject(new Error(`${peer.name} does not hold ${sessions} sessions`))),
    ]);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    found[peer.name] = [{ [memory.figure]: (memoryBytes(peer.pid) - before) / sessions / 1024 }];
    holder.stdin.end();
    await ended;
    done += memory.seconds;
  }
  return found;
}

function ask(
  { load, loadProcessors }: Lab,
  [what = "", ...args]: readonly string[],
  port: number,
  more: readonly string[] = [],
): Readonly<Record<string, number>> {
  const pinned = loadProcessors === undefined ? [] : ["taskset", "-c", loadProcessors];
  const [file = "", ...rest] = [...pinned, load, what, `${port}`, ...args, ...more];
  return JSON.parse(execFileSync(file, rest, { encoding: "utf8", timeout: 120_000 })) as Record<
    string,
    number
  >;
}

function keep(file: string, found: Found): Found {
  const earlier = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Found) : {};
  const all: Record<string, Found[string]> = {};
  for (const name of [...Object.keys(measures), memory.name]) {
    const turns = { ...earlier[name], ...found[name] };
    if (Object.keys(turns).length > 0) all[name] = turns;
  }
  writeFileSync(file, JSON.stringify(all));
  return all;
}

function progress(what: string): void {
  const seconds = (performance.now() - startedMs) / 1000;
  const pace = done > 0 ? (performance.now() - measuringSinceMs) / 1000 / done : 1;
  const left = planned === 0 ? "" : `, ${clock((planned - done) * pace)} left`;
  console.error(`${clock(seconds)} ${what}${left}`);
}

function clock(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}
