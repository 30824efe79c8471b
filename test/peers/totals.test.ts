/** The byte totals of a record are those that a capture of the packets shows, on both sides of the relay. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import { before, test, type TestContext } from "node:test";
import { type LogLine, RunningDaemon } from "../support/daemon.ts";
import { open, startBackend, talk } from "../support/peers.ts";
import { needPrograms } from "../support/program.ts";

before(() => needPrograms("/usr/bin/tcpdump"));

/** One packet that begins or ends a direction: "1 127.0.0.1.40000 > 127.0.0.1.22: Flags [S], seq 12345". */
const packetForm = / IP \S+\.(\d+) > \S+\.(\d+): Flags \[([^\]]+)\](?:, seq (\d+)(?::(\d+))?)?/;

interface Capture {
  /** Bytes of the stream from one port to the other, by the sequence numbers of its first and its last packet. */
  bytes(from: number, to: number): number | undefined;
  /** Resolves when the capture shows this. */
  until(shows: () => boolean): Promise<void>;
}

/** Captures the packets that begin and end connections of some ports: few, so that none is lost. */
async function capture(t: TestContext, ports: readonly number[]): Promise<Capture> {
  const filter = `(${ports.map((port) => `port ${port}`).join(" or ")}) and tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0`;
  const program = spawn("/usr/bin/tcpdump", ["-i", "lo", "-n", "-S", "-l", "--immediate-mode", filter], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(() => program.kill());
  const first = new Map<string, number>();
  const last = new Map<string, number>();
  const finished = new Map<string, number>();
  const looking = new Set<() => void>();
  createInterface({ input: program.stdout }).on("line", (line) => {
    const [, from, to, flags = "", seq, dataEnd] = packetForm.exec(line) ?? [];
    if (seq === undefined) return;
    if (flags.includes("S")) first.set(`${from} ${to}`, Number(seq));
    else if (flags.includes("F"))
      finished.set(`${from} ${to}`, Number(dataEnd ?? seq)); // a FIN may come with data
    else last.set(`${from} ${to}`, Number(seq));
    for (const look of looking) look();
  });
  for await (const [chunk] of on(program.stderr)) if (String(chunk).includes("listening on")) break;
  return {
    bytes: (from, to) => {
      const key = `${from} ${to}`;
      const [begin, end] = [first.get(key), finished.get(key) ?? last.get(key)]; // a reset may come after a FIN
      if (begin === undefined || end === undefined) return undefined;
      return (end - begin - 1 + 2 ** 32) % 2 ** 32; // the SYN counts as one
    },
    until: async (shows) => {
      await new Promise<void>((resolve, reject) => {
        const limit = setTimeout(() => reject(new Error("the capture does not show it")), 5000);
        const look = (): void => {
          if (!shows()) return;
          clearTimeout(limit);
          looking.delete(look);
          resolve();
        };
        looking.add(look);
        look();
      });
    },
  };
}

async function* on(stream: NodeJS.ReadableStream): AsyncGenerator<[Buffer]> {
  for (;;) yield (await once(stream, "data")) as [Buffer];
}

interface Bed {
  readonly daemon: RunningDaemon;
  readonly port: number;
  readonly seen: Capture;
  /** The far ends that the backend has accepted. */
  readonly accepted: Socket[];
}

async function bed(t: TestContext, relay: string, serve: (socket: Socket) => void): Promise<Bed> {
  const accepted: Socket[] = [];
  const backend = await startBackend(t, (socket) => {
    accepted.push(socket);
    serve(socket);
  });
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend.address },
    yaml: `names: {reverse: never}\nrelay: ${relay}\n`,
    allow: "",
    deny: "",
  });
  const port = daemon.port("sshd");
  const backendPort = Number(backend.address.split(":")[1]);
  return { daemon, port, accepted, seen: await capture(t, [port, backendPort]) };
}

/**
 * Compares what the record says with what the capture shows: client to us, us to backend, and back.
 *
 * @param isUpOnly after a reset by the client nothing says where the other way ended
 */
async function assertTotals({ seen, port, accepted }: Bed, end: LogLine, isUpOnly = false): Promise<void> {
  const client = end.client?.port ?? 0;
  const { localPort: backend = 0, remotePort: ours = 0 } = places.get(accepted[0]) ?? {};
  const up = [
    [client, port],
    [ours, backend],
  ] as const;
  const down = up.map(([from, to]) => [to, from] as const);
  const pairs = isUpOnly ? up : [...up, ...down];
  await seen.until(() => pairs.every(([from, to]) => seen.bytes(from, to) !== undefined));
  assert.deepEqual(
    pairs.map(([from, to]) => seen.bytes(from, to)),
    [end.upBytes, end.upBytes, end.downBytes, end.downBytes].slice(0, pairs.length),
  );
}

/** A socket forgets where it was when it is closed. */
const places = new Map<Socket | undefined, { localPort?: number; remotePort?: number }>();

function remember(socket: Socket): void {
  const { localPort, remotePort } = socket;
  if (localPort !== undefined && remotePort !== undefined) places.set(socket, { localPort, remotePort });
}

for (const relay of ["fast", "reference"]) {
  test(`K8: ${relay} relay: an echo of a megabyte and a half-close`, async (t) => {
    const there = await bed(t, relay, (socket) => {
      remember(socket);
      socket.pipe(socket);
    });
    const say = "x".repeat(1_234_567);
    assert.equal((await talk(there.port, { say })).text.length, say.length);
    const end = await there.daemon.find(({ event }) => event === "end");
    assert.deepEqual([end.upBytes, end.downBytes], [1_234_567, 1_234_567]);
    await assertTotals(there, end);
  });

  test(`K8: ${relay} relay: a backend that answers 413 and closes on a client that goes on sending`, async (t) => {
    const answer = "HTTP/1.1 413 Content Too Large\r\n\r\n";
    const there = await bed(t, relay, (socket) => {
      remember(socket);
      let heard = 0;
      socket.on("data", (chunk: Buffer) => {
        heard += chunk.length;
        if (heard < 100_000) return;
        socket.removeAllListeners("data").pause();
        socket.write(answer, () => socket.destroy());
      });
    });
    const client = await open(t, there.port);
    client.write(Buffer.alloc(50_000_000));
    const end = await there.daemon.find(({ event }) => event === "end");
    assert.equal(end.cause, "backend_reset");
    const place = places.get(there.accepted[0]);
    // What a reset cuts off has been sent and not been taken, so only the answer can be compared.
    const fromBackend = [place?.localPort ?? 0, place?.remotePort ?? 0] as const;
    const toClient = [there.port, end.client?.port ?? 0] as const;
    await there.seen.until(() =>
      [fromBackend, toClient].every((pair) => there.seen.bytes(...pair) !== undefined),
    );
    assert.equal(there.seen.bytes(...fromBackend), answer.length);
    // A reset that is here before the answer is read takes it along: no program can read it then.
    assert.ok(end.downBytes === answer.length || end.downBytes === 0, String(end.downBytes));
    assert.equal(there.seen.bytes(...toClient), end.downBytes);
  });

  test(`K8: ${relay} relay: a reset by the client after some words`, async (t) => {
    const there = await bed(t, relay, (socket) => {
      remember(socket);
      socket.pipe(socket);
    });
    const client = await open(t, there.port);
    client.write("some words");
    await once(client, "data");
    client.resetAndDestroy();
    const end = await there.daemon.find(({ event }) => event === "end");
    assert.deepEqual([end.upBytes, end.downBytes, end.cause], [10, 10, "client_reset"]);
    await assertTotals(there, end, true);
  });
}
