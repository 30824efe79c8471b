import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { act } from "../../src/act/act.ts";
import type { Acted, ActPorts } from "../../src/act/act.ts";
import { Refusals } from "../../src/act/refuse.ts";
import { Spawns } from "../../src/act/spawn.ts";
import type { Command, Effect, Request, Verdict } from "../../src/access/types.ts";
import { localPrograms } from "../../src/platform/commands.ts";
import { connectPair, readToEnd } from "../support/pair.ts";
import type { Pair } from "../support/pair.ts";
import { scratchFolder } from "../support/scratch.ts";

const request: Request = {
  daemon: "sshd",
  client: { address: "192.0.2.1", port: 4711 },
  server: { address: "192.0.2.9", port: 22 },
};

function command(line: string, more: Partial<Command> = {}): Command {
  return { line, environment: {}, ...more };
}

function verdict(kind: "allow" | "refuse", ...effects: Effect[]): Verdict {
  return { kind, reason: "rule", effects, diagnostics: [] };
}

function twisted(what: Command, ...effects: Effect[]): Verdict {
  return { kind: "twist", command: what, reason: "rule", effects, diagnostics: [] };
}

interface Stage extends Pair {
  readonly warnings: string[];
  readonly folder: string;
  act(verdict: Verdict, ports?: Partial<ActPorts>): Promise<Acted>;
}

async function setUp(t: TestContext): Promise<Stage> {
  const pair = await connectPair(t);
  const warnings: string[] = [];
  const refusals = new Refusals({ maxHeld: 1, holdMs: 60_000, maxClosing: 10, closeMs: 60_000 });
  t.after(() => refusals.close());
  const ports: ActPorts = {
    programs: localPrograms,
    spawns: new Spawns({ maxRunning: 10 }),
    refusals,
    refusal: "reset",
    findFact: async (fact, asked) =>
      fact.kind === "user"
        ? { ...asked, user: "bob" }
        : { ...asked, client: { ...asked.client, name: "host.example" } },
    bannerLimits: { maxBytes: 65_536, timeoutMs: 5000 },
    keepAliveMs: 60_000,
    warn: (message) => warnings.push(message),
  };
  return {
    ...pair,
    warnings,
    folder: scratchFolder(t),
    act: async (what, more) => await act(what, pair.accepted, request, { ...ports, ...more }),
  };
}

test("allow leaves the relay to do and the client untouched", async (t) => {
  const stage = await setUp(t);
  stage.client.write("early");
  assert.deepEqual(await stage.act(verdict("allow")), { kind: "relay" });
  assert.equal(stage.accepted.destroyed, false);
  stage.accepted.resume();
  const [chunk] = (await once(stage.accepted, "data")) as [Buffer];
  assert.equal(chunk.toString(), "early");
});

test("allow hands linger on to the end of the relay; the last one counts", async (t) => {
  const stage = await setUp(t);
  const acted = await stage.act(
    verdict("allow", { kind: "linger", seconds: 9 }, { kind: "linger", seconds: 3 }),
  );
  assert.deepEqual(acted, { kind: "relay", lingerSeconds: 3 });
});

test("refuse ends the client in the service's way", async (t) => {
  for (const [refusal, end] of [
    ["reset", "reset"],
    ["close", "end"],
  ] as const) {
    const stage = await setUp(t);
    stage.client.write("early");
    const seen = readToEnd(stage.client);
    const acted = await stage.act(verdict("refuse"), { refusal });
    assert.deepEqual(await seen, { text: "", end });
    stage.client.end();
    assert.ok(acted.kind === "refused");
    await acted.gone;
  }
});

test("twist lets the command serve the client, early bytes included, and tells how it ended", async (t) => {
  const stage = await setUp(t);
  stage.client.write("early\n");
  const seen = readToEnd(stage.client);
  const acted = await stage.act(
    twisted(command('read line; echo "got $line $A"; echo oops >&2; exit 7', { environment: { A: "b" } })),
  );
  assert.deepEqual(await seen, { text: "got early b\n", end: "end" });
  assert.ok(acted.kind === "twisted");
  assert.deepEqual([acted.end.status, acted.end.signal], [7, null]);
  assert.deepEqual(stage.warnings, ["twist: oops"]);
});

test("C7: twist whose command dies at once ends the client", async (t) => {
  const stage = await setUp(t);
  const seen = readToEnd(stage.client);
  const acted = await stage.act(twisted(command("kill -9 $$")));
  assert.ok(acted.kind === "twisted");
  assert.equal(acted.end.signal, "SIGKILL");
  assert.equal((await seen).end, "end");
});

test("twist that cannot be started resets the client", async (t) => {
  const stage = await setUp(t);
  const seen = readToEnd(stage.client);
  const acted = await stage.act(twisted(command("echo hello", { user: "nosuchuser" })));
  assert.deepEqual(acted, { kind: "failed", detail: 'twist: unknown user: "nosuchuser"' });
  assert.deepEqual(await seen, { text: "", end: "reset" });
});

test("twist ends when the signal says so, and its background processes with it", async (t) => {
  const stage = await setUp(t);
  const stop = new AbortController();
  const acting = stage.act(twisted(command("sleep 100 & echo started; wait")), { signal: stop.signal });
  await once(stage.client, "data");
  const seen = readToEnd(stage.client);
  stop.abort();
  const acted = await acting;
  assert.ok(acted.kind === "twisted");
  assert.equal(acted.end.signal, "SIGTERM");
  assert.equal((await seen).end, "end");
});

test("twist of a client whose bytes we have read already fails: the command would miss them", async (t) => {
  const stage = await setUp(t);
  stage.client.write("early");
  stage.accepted.read(0);
  await once(stage.accepted, "readable");
  const acted = await stage.act(twisted(command("cat")));
  const detail = "twist: the client spoke first, and what it said has been read in search of a PROXY header";
  assert.deepEqual(acted, { kind: "failed", detail });
});

test("spawn runs beside the connection and never delays it", async (t) => {
  const stage = await setUp(t);
  const [started, go] = [join(stage.folder, "started"), join(stage.folder, "go")];
  const spawns = new Spawns({ maxRunning: 10 });
  // Waits until the verdict is out: were it waited for, neither would ever end.
  const line = `while ! test -e ${go}; do sleep 0.01; done; fds=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo "$fds" > ${started}`;
  const acted = await stage.act(verdict("allow", { kind: "spawn", command: command(line) }), { spawns });
  assert.deepEqual(acted, { kind: "relay" });
  assert.equal(spawns.running, 1);
  writeFileSync(go, "");
  await until(() => spawns.running === 0);
  assert.equal(readFileSync(started, "utf8"), "/dev/null\n/dev/null\n/dev/null\n");
});

test("spawn is bounded in number, and says so", async (t) => {
  const stage = await setUp(t);
  const spawns = new Spawns({ maxRunning: 1 });
  const effect: Effect = { kind: "spawn", command: command("sleep 0.1") };
  assert.deepEqual(await stage.act(verdict("allow", effect, effect), { spawns }), { kind: "relay" });
  assert.deepEqual(stage.warnings, ['spawn "sleep 0.1": too many commands are running, not started']);
  await until(() => spawns.running === 0);
});

test("spawn that cannot be started warns and changes nothing", async (t) => {
  const stage = await setUp(t);
  const spawns = new Spawns({ maxRunning: 1 });
  const acted = await stage.act(
    verdict("allow", { kind: "spawn", command: command(":", { user: "nosuchuser" }) }),
    { spawns },
  );
  assert.deepEqual(acted, { kind: "relay" });
  await until(() => spawns.running === 0);
  assert.deepEqual(stage.warnings, ['spawn ":": unknown user: "nosuchuser"']);
});

test("banners come before what follows: the relay, the refusal, the command", async (t) => {
  const outcomes: [what: (banners: Effect) => Verdict, text: string][] = [
    [(banners) => verdict("allow", banners), "hello 192.0.2.1\r\nserved"],
    [(banners) => verdict("refuse", banners), "hello 192.0.2.1\r\n"],
    [(banners) => twisted(command("printf twisted"), banners), "hello 192.0.2.1\r\ntwisted"],
  ];
  for (const [what, text] of outcomes) {
    const stage = await setUp(t);
    writeFileSync(join(stage.folder, "sshd"), "hello %a\n");
    const seen = readToEnd(stage.client);
    const acted = await stage.act(what({ kind: "banners", directory: stage.folder }), { refusal: "close" });
    if (acted.kind === "relay") stage.accepted.end("served");
    assert.equal((await seen).text, text);
  }
});

test("what is wrong with a banner is told with the place of its rule", async (t) => {
  const stage = await setUp(t);
  const allowed = verdict("allow", { kind: "banners", directory: "/no/such" });
  await stage.act({ ...allowed, rule: { file: "/etc/hosts.allow", line: 3, index: 1 } });
  assert.deepEqual(stage.warnings, [
    "/etc/hosts.allow, line 3: banners: /no/such: No such file or directory",
  ]);
});

test("A21: a client that does not take its banner is reset in time", async (t) => {
  const stage = await setUp(t);
  writeFileSync(join(stage.folder, "sshd"), "hello\n");
  stage.client.pause();
  stage.accepted.write(Buffer.alloc(32 * 1024 * 1024)); // fills what the kernel would take
  const acted = await stage.act(verdict("allow", { kind: "banners", directory: stage.folder }), {
    bannerLimits: { maxBytes: 65_536, timeoutMs: 50 },
  });
  assert.deepEqual(acted, { kind: "failed", detail: "the client does not take its banner" });
  assert.equal(stage.accepted.destroyed, true);
});

test("a banner whose expansion is too long refuses the client", async (t) => {
  const stage = await setUp(t);
  writeFileSync(join(stage.folder, "sshd"), `${"%a".repeat(2000)}\n`);
  const seen = readToEnd(stage.client);
  const acted = await stage.act(verdict("allow", { kind: "banners", directory: stage.folder }));
  assert.deepEqual(acted, { kind: "failed", detail: "an expansion in the banner is too long" });
  assert.deepEqual(await seen, { text: "", end: "reset" });
});

test("a banner whose facts cannot be found resets the client", async (t) => {
  const stage = await setUp(t);
  writeFileSync(join(stage.folder, "sshd"), "%u\n");
  const acted = await stage.act(verdict("allow", { kind: "banners", directory: stage.folder }), {
    findFact: async () => await Promise.reject(new Error("out of time")),
  });
  assert.deepEqual(acted, { kind: "failed", detail: "banners: out of time" });
  assert.equal(stage.accepted.destroyed, true);
});

test("keepalive asks the kernel to watch the client", async (t) => {
  const stage = await setUp(t);
  const asked: unknown[][] = [];
  stage.accepted.setKeepAlive = (...args: unknown[]) => {
    asked.push(args);
    return stage.accepted;
  };
  await stage.act(verdict("allow", { kind: "keepalive" }));
  assert.deepEqual(asked, [[true, 60_000]]);
});

test("effects run in the order of the rule", async (t) => {
  const stage = await setUp(t);
  const [first, second] = [join(stage.folder, "one"), join(stage.folder, "two")];
  for (const [folder, text] of [
    [first, "1\n"],
    [second, "2\n"],
  ] as const) {
    mkdirSync(folder);
    writeFileSync(join(folder, "sshd"), text);
  }
  const seen = readToEnd(stage.client);
  await stage.act(
    verdict("refuse", { kind: "banners", directory: first }, { kind: "banners", directory: second }),
    { refusal: "close" },
  );
  assert.equal((await seen).text, "1\r\n2\r\n");
});

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}
