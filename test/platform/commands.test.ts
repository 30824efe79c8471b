import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import type { TestContext } from "node:test";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { localPrograms } from "../../src/platform/commands.ts";
import type { Program, ProgramEnd } from "../../src/platform/commands.ts";
import { CLEAN_PATH } from "../../src/platform/prologue.ts";
import { connectPair, readToEnd } from "../support/pair.ts";

const isRoot = process.getuid?.() === 0;
const needsRoot = { skip: isRoot ? false : "needs root" };

/** Runs a shell line with descriptor 2 as its voice. */
async function run(line: string, program: Partial<Program> = {}): Promise<ProgramEnd & { lines: string[] }> {
  const lines: string[] = [];
  const argv = ["/bin/sh", "-c", `exec >&2; ${line}`] as const;
  const running = await localPrograms.start({ ...program, argv, onErrorOutput: (text) => lines.push(text) });
  return { ...(await running.ended), lines };
}

const rows: [line: string, program: Partial<Program>, lines: string[], because: string][] = [
  ["readlink /proc/$$/fd/0", {}, ["/dev/null"], "without a connection, 0 is /dev/null"],
  [
    "env | grep -v NODE_V8_COVERAGE | sort",
    {},
    [`PATH=${CLEAN_PATH}`, "PWD=/"],
    "the environment is clean (PWD is the shell's own)",
  ],
  ["echo $A", { environment: { A: "b c" } }, ["b c"], "the environment has what is added"],
  ["echo $PATH", { environment: { PATH: "/x" } }, ["/x"], "what is added may replace PATH"],
  ["pwd", {}, ["/"], "the folder is /"],
  [
    "ulimit -S -n",
    {},
    ["1024"],
    "the soft limit of descriptors is the kernel's, not the one that Node has raised",
  ],
  ["umask", { umask: 0o27 }, ["0027"], "umask is set"],
  ["umask", { umask: 0o27, ignoresHangup: true }, ["0027"], "umask is set beside another prologue"],
  ["nice", { nice: 5 }, [String(niceNow() + 5)], "nice is added to ours"],
  ["kill -HUP $$; echo alive", { ignoresHangup: true }, ["alive"], "SIGHUP can be ignored"],
  ["kill -HUP $$; echo alive", {}, [], "SIGHUP ends it otherwise"],
  ["kill -PIPE $$; echo alive", {}, [], "SIGPIPE, which Node ignores, is not ignored there"],
  ["test $$ = $(ps -o pgid= -p $$) && echo leader", {}, ["leader"], "it leads a process group of its own"],
  ["printf 'no newline'", {}, ["no newline"], "a last line without newline is told"],
];
for (const [line, program, lines, because] of rows)
  test(`program: ${because}`, async () => assert.deepEqual((await run(line, program)).lines, lines));

const ends: [line: string, status: number | null, signal: string | null][] = [
  ["exit 0", 0, null],
  ["exit 42", 42, null],
  ["kill -TERM $$", null, "SIGTERM"],
  ["/no/such/program", 127, null],
];
for (const [line, status, signal] of ends)
  test(`program: the end of "${line}" is status ${status}, signal ${signal}`, async () => {
    const end = await run(line);
    assert.deepEqual([end.status, end.signal], [status, signal]);
    assert.ok(end.durationMs >= 0);
  });

test("L3: a program has nothing above descriptor 2", () => {
  // In a process of its own, so that what this test runner inherited can be closed first.
  const script = `
    import { openSync } from "node:fs";
    import { createServer } from "node:net";
    import { closeInherited } from "./src/platform/descriptors.ts";
    import { localPrograms } from "./src/platform/commands.ts";
    const closed = closeInherited();
    createServer().listen(0, "127.0.0.1").unref();
    openSync("/etc/passwd");
    const running = await localPrograms.start({
      argv: ["/bin/sh", "-c", "exec >&2; ls /proc/$$/fd; :"],
      onErrorOutput: (line) => console.log(line),
    });
    await running.ended;
    console.log("closed", closed.join(" "));
  `;
  const { stdout, stderr } = spawnSync(
    "/bin/bash",
    [
      "-c",
      'exec 20</etc/passwd 77</etc/passwd; exec "$0" --import tsx --input-type=module -e "$1"',
      process.execPath,
      script,
    ],
    { encoding: "utf8" },
  );
  assert.match(stdout, /^0\n1\n2\nclosed .*\b77\b.*\n$/, stderr);
});

test("program: killing it kills its whole group", async (t) => {
  const { accepted, client } = await connectPair(t);
  const running = await localPrograms.start({
    argv: ["/bin/sh", "-c", "sleep 100 & echo $!; wait"],
    connection: accepted,
  });
  accepted.destroy();
  const [chunk] = (await once(client, "data")) as [Buffer];
  assert.equal(running.kill("SIGKILL"), true);
  assert.equal((await running.ended).signal, "SIGKILL");
  // The signal is sent; a busy machine may take a moment to run those it is sent to, and their new parent another.
  const untilMs = performance.now() + 5000;
  while (stateOf(Number(chunk.toString())) !== "gone" && performance.now() < untilMs) await pause(10);
  assert.equal(stateOf(Number(chunk.toString())), "gone");
});

test("program: killing one that has ended is no error", async () => {
  const running = await localPrograms.start({ argv: ["/bin/true"] });
  await running.ended;
  assert.equal(running.kill("SIGKILL"), false);
});

test("program: a connection is 0 and 1, with its peer, its unread bytes and in blocking mode", async (t) => {
  const { accepted, client } = await connectPair(t);
  client.write("early\n");
  await serve(
    t,
    accepted,
    'read line; echo "got $line"; grep flags /proc/self/fdinfo/0; readlink /proc/self/fd/0 /proc/self/fd/1',
  );
  const { text, end } = await readToEnd(client);
  const [got, flags, input, output] = text.trimEnd().split("\n");
  assert.equal(got, "got early");
  assert.match(flags ?? "", /02$/, "O_RDWR alone: no O_NONBLOCK");
  assert.match(input ?? "", /^socket:/);
  assert.equal(output, input);
  assert.equal(end, "end", "our copy is closed, so the end of the program ends the connection");
});

test("program: descriptor 2 is bounded and never makes the program wait", async () => {
  const { status, lines } = await run(
    "head -c 10000000 /dev/zero | tr '\\0' x; yes | head -c 1000000; exit 3",
  );
  assert.equal(status, 3);
  assert.ok(lines.join("").length < 70_000);
  assert.match(lines.at(-1) ?? "", /dropped/);
});

test("program: a child that keeps descriptor 2 open does not keep us", async () => {
  const { status, durationMs } = await run("sleep 20 & exit 4");
  assert.equal(status, 4);
  assert.ok(durationMs < 10_000);
});

const failures: [program: Program, message: RegExp][] = [
  [{ argv: ["/no/such/program"] }, /ENOENT/],
  [{ argv: ["/etc/passwd"] }, /EACCES/],
  [{ argv: ["/bin/sh", "-c", ":"], user: "nosuchuser" }, /unknown user: "nosuchuser"/],
  [{ argv: ["/bin/sh", "-c", ":"], group: "nosuchgroup" }, /unknown group: "nosuchgroup"/],
  [{ argv: ["/bin/sh", "-c", ":"], user: "--help" }, /unknown user: "--help"/],
  [{ argv: ["/bin/sh", "-c", ":"], user: "0" }, /unknown user: "0"/],
];
for (const [program, message] of failures)
  test(`program: ${message.source} rejects`, async () => {
    await assert.rejects(localPrograms.start(program), message);
  });

test("program: a connection that is gone rejects", async (t) => {
  const { accepted } = await connectPair(t);
  accepted.destroy();
  await assert.rejects(localPrograms.start({ argv: ["/bin/cat"], connection: accepted }), /gone/);
});

const identities: [program: Partial<Program>, ids: string, because: string][] = [
  [
    { user: "nobody" },
    `${idOf("-u", "nobody")} ${idOf("-g", "nobody")} ${idOf("-G", "nobody")}`,
    "user, its group, its groups",
  ],
  [{ user: "nobody", group: "daemon" }, `${idOf("-u", "nobody")} 1 1`, "a group instead of the user's own"],
  [{ group: "daemon" }, "0 1 1", "a group alone"],
  [
    { user: "nobody", nice: -3, umask: 0o77 },
    `${idOf("-u", "nobody")} ${idOf("-g", "nobody")} ${idOf("-G", "nobody")}`,
    "beside the others",
  ],
];
for (const [program, ids, because] of identities)
  test(`program runs as ${JSON.stringify(program)}: ${because}`, needsRoot, async () => {
    assert.deepEqual((await run("echo $(id -u) $(id -g) $(id -G)", program)).lines, [ids]);
  });

/** Runs a program as we run as nobody, whoever runs this test. */
function runAsNobody(program: Program): { lines: string[]; failure: string } {
  const script = `
    import { localPrograms } from "./src/platform/commands.ts";
    const lines = [];
    try {
      const running = await localPrograms.start({ ...JSON.parse(process.argv[1]), onErrorOutput: (line) => lines.push(line) });
      await running.ended;
      console.log(JSON.stringify({ lines, failure: "" }));
    } catch (error) {
      console.log(JSON.stringify({ lines, failure: error.message }));
    }`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "-e", script, JSON.stringify(program)],
    {
      encoding: "utf8",
      env: { PATH: CLEAN_PATH, TMPDIR: tmpdir() },
      ...(isRoot ? { uid: 65_534, gid: 65_534 } : {}),
    },
  );
  assert.notEqual(stdout, "", stderr);
  return JSON.parse(stdout) as { lines: string[]; failure: string };
}

/** A checkout below a folder of root's own cannot be run by nobody. */
const needsNobody = {
  skip:
    isRoot &&
    spawnSync("test", ["-r", import.meta.filename, "-a", "-x", process.execPath], {
      uid: 65_534,
      gid: 65_534,
    }).status !== 0
      ? "nobody may not read this checkout or run this node"
      : false,
};

test("program: without root, another user cannot be had, and nothing runs", needsNobody, () => {
  const { lines, failure } = runAsNobody({ argv: ["/bin/sh", "-c", "echo ran >&2"], user: "daemon" });
  assert.deepEqual(lines, []);
  assert.match(failure, /EPERM/);
});

test(
  "program: without root, our own user can be asked for",
  { skip: isRoot ? needsNobody.skip : "needs root to be nobody" },
  () => {
    const { lines } = runAsNobody({ argv: ["/bin/sh", "-c", "id -un >&2"], user: "nobody" });
    assert.deepEqual(lines, ["nobody"]);
  },
);

test("program: without root, nice below ours only warns, as in hosts_options(5)", needsNobody, () => {
  const { lines } = runAsNobody({ argv: ["/bin/sh", "-c", "echo ran >&2"], nice: -3 });
  assert.match(lines[0] ?? "", /cannot set niceness/);
  assert.equal(lines[1], "ran");
});

test("program: nice below ours is set before the user is", needsRoot, async () => {
  assert.deepEqual((await run("nice", { nice: -3, user: "nobody" })).lines, [String(niceNow() - 3)]);
});

test("program: no zombie is left", async () => {
  const pids = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const running = await localPrograms.start({ argv: ["/bin/true"] });
      await running.ended;
      return running.pid;
    }),
  );
  assert.deepEqual(
    pids.filter((pid) => existsSync(`/proc/${pid}`)),
    [],
  );
});

async function serve(
  t: TestContext,
  connection: Program["connection"] & object,
  line: string,
): Promise<void> {
  const running = await localPrograms.start({ argv: ["/bin/sh", "-c", line], connection });
  connection.destroy();
  t.after(() => running.kill("SIGKILL"));
}

function stateOf(pid: number): string {
  try {
    const state = /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? "gone";
    return state === "Z" ? "gone" : state; // process 1 has not reaped it yet
  } catch {
    return "gone";
  }
}

function niceNow(): number {
  return Number(spawnSync("nice", { encoding: "utf8" }).stdout);
}

function idOf(what: string, user: string): string {
  return spawnSync("id", [what, user], { encoding: "utf8" }).stdout.trim();
}
