import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { handOver } from "../../src/act/hand-over.ts";
import type { HandedOver, HandOverPorts } from "../../src/act/hand-over.ts";
import { Refusals } from "../../src/act/refuse.ts";
import { limitStarts } from "../../src/act/start-rate.ts";
import type { Request } from "../../src/access/types.ts";
import { localPrograms } from "../../src/platform/commands.ts";
import type { Programs } from "../../src/platform/commands.ts";
import { connectPair, readToEnd } from "../support/pair.ts";
import type { Pair } from "../support/pair.ts";

const request: Request = {
  daemon: "sshd",
  client: { address: "192.0.2.1", port: 4711 },
  server: { address: "192.0.2.9", port: 22 },
};

interface Stage extends Pair {
  readonly warnings: string[];
  handOver(exec: readonly [string, ...string[]], ports?: Partial<HandOverPorts>): Promise<HandedOver>;
}

async function setUp(t: TestContext): Promise<Stage> {
  const pair = await connectPair(t);
  const warnings: string[] = [];
  const ports: HandOverPorts = {
    programs: localPrograms,
    refusals: new Refusals({ maxHeld: 0, holdMs: 1, maxClosing: 10, closeMs: 60_000 }),
    refusal: "close",
    warn: (message) => warnings.push(message),
  };
  return {
    ...pair,
    warnings,
    handOver: async (exec, more) => await handOver(exec, pair.accepted, request, { ...ports, ...more }),
  };
}

const sh = (line: string): readonly [string, ...string[]] => ["/bin/sh", "-c", line];

test("hand-over: the program serves the client, who has spoken first", async (t) => {
  const stage = await setUp(t);
  stage.client.write("early\n");
  const seen = readToEnd(stage.client);
  const handed = await stage.handOver(
    sh('read x; echo "$x from $REMOTE_ADDR $REMOTE_PORT"; echo oops >&2; exit 3'),
  );
  assert.deepEqual(await seen, { text: "early from 192.0.2.1 4711\n", end: "end" });
  assert.ok(handed.kind === "served");
  assert.deepEqual([handed.end.status, handed.end.signal], [3, null]);
  assert.deepEqual(stage.warnings, ["oops"]);
});

test("C7: hand-over: a program that reads to the end sees the client's half-close, and its answer arrives", async (t) => {
  const stage = await setUp(t);
  stage.client.end("x".repeat(300_000));
  const seen = readToEnd(stage.client);
  const handed = await stage.handOver(["/usr/bin/wc", "-c"]);
  assert.deepEqual(await seen, { text: "300000\n", end: "end" });
  assert.equal(handed.kind, "served");
});

test("C7: hand-over: a program that dies at once ends the client, and its signal is told", async (t) => {
  const stage = await setUp(t);
  const seen = readToEnd(stage.client);
  const handed = await stage.handOver(sh("kill -SEGV $$"));
  assert.ok(handed.kind === "served");
  assert.deepEqual([handed.end.status, handed.end.signal], [null, "SIGSEGV"]);
  assert.equal((await seen).end, "end");
});

test("hand-over: a program that leaves bytes unread ends the client by reset, as the kernel does for inetd", async (t) => {
  const stage = await setUp(t);
  await new Promise((resolve) => stage.client.write("unread", resolve));
  const seen = readToEnd(stage.client);
  await stage.handOver(["/bin/true"]);
  assert.equal((await seen).end, "reset");
});

test("hand-over: a program that cannot be started resets the client", async (t) => {
  const stage = await setUp(t);
  const seen = readToEnd(stage.client);
  const handed = await stage.handOver(["/no/such/program", "-i"]);
  assert.ok(handed.kind === "failed");
  assert.match(handed.detail, /^\/no\/such\/program: ENOENT/);
  assert.deepEqual(await seen, { text: "", end: "reset" });
});

test("hand-over: the program ends when the signal says so", async (t) => {
  const stage = await setUp(t);
  const handed = await stage.handOver(["/bin/cat"], { signal: AbortSignal.abort() });
  assert.ok(handed.kind === "served");
  assert.equal(handed.end.signal, "SIGTERM");
});

test("C8: hand-over: clients that come too fast are refused in the service's way, and nothing is started for them", async (t) => {
  const programs = limitStarts(localPrograms, { perMinute: 1, burst: 1 });
  const [first, second] = [await setUp(t), await setUp(t)];
  assert.equal((await first.handOver(["/bin/true"], { programs })).kind, "served");
  await new Promise((resolve) => second.client.write("SSH-2.0-x\r\n", resolve));
  const seen = readToEnd(second.client);
  const handed = await second.handOver(["/bin/true"], { programs });
  assert.equal((await seen).end, "end");
  second.client.end();
  assert.ok(handed.kind === "refused");
  assert.match(handed.detail, /more than 1 programs a minute/);
  await handed.gone;
});

/** 10,000 take a minute or two: HAND_OVERS=10000 npm run test:one test/act/hand-over.test.ts */
const handOvers = Number(process.env["HAND_OVERS"] ?? 100);

test(`C7: hand-over: ${handOvers} of them leave no zombie and no descriptor`, async (t) => {
  const pids: number[] = [];
  const programs: Programs = {
    start: async (program) => {
      const running = await localPrograms.start(program);
      pids.push(running.pid);
      return running;
    },
  };
  const descriptors = readdirSync("/proc/self/fd").length;
  for (let done = 0; done < handOvers; done += 20)
    await t.test(`${done} to ${done + 20}`, async (t) => {
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          const stage = await setUp(t);
          const seen = readToEnd(stage.client);
          assert.equal((await stage.handOver(["/bin/echo", "hello"], { programs })).kind, "served");
          assert.deepEqual(await seen, { text: "hello\n", end: "end" });
        }),
      );
    });
  assert.equal(pids.length, handOvers);
  assert.deepEqual(
    pids.filter((pid) => existsSync(`/proc/${pid}`)),
    [],
  );
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(readdirSync("/proc/self/fd").length <= descriptors + 2);
});
