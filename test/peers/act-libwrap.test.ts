/** What options do, next to the real library: what the client reads, and what commands find around them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import type { TestContext } from "node:test";
import { array, assert as assertProperty, asyncProperty, constantFrom } from "fast-check";
import { act } from "../../src/act/act.ts";
import { Refusals } from "../../src/act/refuse.ts";
import { serveBy } from "../../src/act/serve-by.ts";
import { Spawns } from "../../src/act/spawn.ts";
import { decide } from "../../src/access/decide.ts";
import { withLate } from "../../src/access/expand.ts";
import type { Fact, Request, Source } from "../../src/access/types.ts";
import { loadTables } from "../../src/config/load.ts";
import { localPrograms } from "../../src/platform/commands.ts";
import { connectPair, readToEnd } from "../support/pair.ts";
import { scratchFolder } from "../support/scratch.ts";
import { fuzzSeed } from "../support/fuzz-seed.ts";

/** Asks the library about the connection on descriptor 0, as a program linked with it does, and says the verdict to the client. */
const asker = `
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
#include <tcpd.h>
int allow_severity, deny_severity;
int main(int argc, char **argv) {
  struct request_info request;
  umask(022);
  hosts_allow_table = argv[1];
  hosts_deny_table = "/dev/null";
  request_init(&request, RQ_DAEMON, "sshd", RQ_FILE, 0, 0);
  fromhost(&request);
  const char *verdict = hosts_access(&request) ? "allow" : "refuse";
  return write(1, verdict, strlen(verdict)) < 0;
}
`;

let library = "";

before((t) => {
  assert.ok(existsSync("/usr/include/tcpd.h"), "libwrap0-dev is missing; test/peers.sh installs it");
  library = join(scratchFolder(t as TestContext), "asker");
  const built = spawnSync("gcc", ["-w", "-include", "string.h", "-x", "c", "-", "-o", library, "-lwrap"], {
    input: asker,
    encoding: "utf8",
  });
  assert.equal(built.status, 0, built.stderr);
});

/** What one side made of a rule: what the client read, the verdict last, and what a command left in the folder. */
interface Made {
  readonly text: string;
  readonly left: string | undefined;
}

async function libwrapMakes(t: TestContext, folder: string): Promise<Made> {
  const { accepted, client } = await connectPair(t);
  const seen = readToEnd(client);
  const said: string[] = [];
  await serveBy(
    { argv: [library, join(folder, "allow")], umask: 0o22, onErrorOutput: (line) => said.push(line) },
    accepted,
    { programs: localPrograms },
  );
  return { text: (await seen).text, left: takeLeft(folder) };
}

async function weMake(t: TestContext, folder: string): Promise<Made> {
  const { accepted, client } = await connectPair(t);
  const seen = readToEnd(client);
  const { tables } = loadTables({ allow: join(folder, "allow"), deny: "/dev/null", noMatch: "allow", read });
  const spawns = new Spawns({ maxRunning: 10 });
  let request: Request = {
    daemon: "sshd",
    client: { address: "127.0.0.1", port: accepted.remotePort ?? 0 },
    server: { address: "127.0.0.1", port: accepted.localPort ?? 0 },
  };
  // One fact for one question: what nobody has asked for is not known to %h and %c.
  const findFact = async (fact: Fact, known: Request): Promise<Request> => {
    if (fact.kind === "user") return withLate({ ...known, user: "unknown" }, fact);
    if (fact.kind === "serverName")
      return withLate({ ...known, server: { ...known.server, name: "localhost" } }, fact);
    return withLate({ ...known, client: { ...known.client, name: "localhost" } }, fact);
  };
  let step = decide(tables, request);
  while (step.kind === "need") {
    request = await findFact(step.fact, request);
    step = decide(tables, request);
  }
  const acted = await act(step, accepted, request, {
    programs: localPrograms,
    spawns,
    refusals: new Refusals({ maxHeld: 0, holdMs: 1, maxClosing: 1, closeMs: 1 }),
    refusal: "close",
    findFact,
    bannerLimits: { maxBytes: 65_536, timeoutMs: 5000 },
    keepAliveMs: 60_000,
    warn: () => {},
  });
  if (acted.kind === "relay") accepted.end("allow");
  const { text } = await seen;
  while (spawns.running > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  return { text: acted.kind === "refused" ? `${text}refuse` : text, left: takeLeft(folder) };
}

function read(path: string): Source {
  return path === "/dev/null" || !existsSync(path)
    ? { kind: "missing" }
    : { kind: "text", bytes: readFileSync(path) };
}

function takeLeft(folder: string): string | undefined {
  const path = join(folder, "left");
  if (!existsSync(path)) return undefined;
  const left = readFileSync(path, "utf8");
  rmSync(path);
  return left;
}

const banners: [file: string, because: string][] = [
  ["", "an empty file"],
  ["hello\n", "a line"],
  ["hello", "a last line without LF"],
  ["a\r\n\r\nb\n", "CRs that are there"],
  ["\n\n\n", "empty lines"],
  ["\0\0\0hello\n", "NULs at the start"],
  ["\0", "NUL alone"],
  ["a\0b\nc\n", "NUL in a line"],
  ["a\n\0b\nc\n", "NUL at the start of a later line"],
  ["\xe4\xf6\xfc \x7f\x1b[1m\n", "bytes of all kinds"],
  ["%a %A %d %s %c %h %H %%\n", "expansions"],
  ["%u %n %N\n", "expansions that ask"],
  ["%\n", "% before the end of a line"],
  ["%", "% at the very end"],
  ["%z%y\n", "unknown expansions"],
  ["100 %% sure; `$(x)`\n", "characters of a shell"],
  [`${"x".repeat(8000)}\n`, "a long line"],
  ["a line\n".repeat(500), "many lines"],
  ["[x\n]y\n[[z]]\na]b[c\n", "brackets"],
  ...[8187, 8188, 8189, 8190, 8191, 20_000].map((length): [string, string] => [
    `${"x".repeat(length)}\nend\n`,
    `a line of ${length}`,
  ]),
  [`${"x".repeat(8189)}%a\n`, "an expansion where a long line is cut"],
  [`${"%a".repeat(1820)}\n`, "the longest line that libwrap expands"],
];
for (const [file, because] of banners)
  test(`banners: ${because}: the client reads what libwrap sends`, async (t) => {
    const folder = scratchFolder(t);
    mkdirSync(join(folder, "banners"));
    writeFileSync(join(folder, "banners", "sshd"), file, "latin1");
    writeFileSync(join(folder, "allow"), `ALL: ALL: banners ${folder}/banners\n`);
    assert.deepEqual(await weMake(t, folder), await libwrapMakes(t, folder));
  });

const clients: [list: string, because: string][] = [
  ["localhost", "a pattern that has asked for the name"],
  ["127. EXCEPT other.test", "an exception that has"],
  ["127.", "one that has not"],
  ["nobody@ALL, ALL", "a pattern that has asked for the user"],
];
for (const [list, because] of clients)
  test(`${list}: %h and %c behind ${because} are libwrap's`, async (t) => {
    const folder = scratchFolder(t);
    const spawns = "spawn echo %h %c >> @/left: spawn echo %n %h %c >> @/left".replaceAll("@", folder);
    writeFileSync(join(folder, "allow"), `ALL: ${list}: ${spawns}\n`);
    const made = await weMake(t, folder);
    assert.notEqual(made.left, undefined);
    assert.deepEqual(made, await libwrapMakes(t, folder));
  });

test("banners: whatever is in the file, the client reads what libwrap sends", async (t) => {
  const folder = scratchFolder(t);
  mkdirSync(join(folder, "banners"));
  writeFileSync(join(folder, "allow"), `ALL: ALL: banners ${folder}/banners\n`);
  // %p, %r and %R are another process and another connection there.
  const piece = constantFrom(...Array.from("%%%%aAcdhHnNsuz[]\n\n\r\0 x\\`\xe4"), "x".repeat(1000));
  await assertProperty(
    asyncProperty(array(piece, { maxLength: 40 }), async (pieces) => {
      writeFileSync(join(folder, "banners", "sshd"), pieces.join(""), "latin1");
      await t.test("a banner", async (t) =>
        assert.deepEqual(await weMake(t, folder), await libwrapMakes(t, folder)),
      );
    }),
    { numRuns: 200, seed: fuzzSeed },
  );
});

const rules: [options: string, because: string][] = [
  ["banners /no/such", "a directory of banners that is not there"],
  ["banners @/one: banners @/two", "two banners, in order"],
  ["banners @/one: deny", "a banner before a refusal"],
  ["deny", "a refusal"],
  ["twist echo hello", "twist"],
  ["twist printf '%%s' a; exit 3", "twist with a status"],
  ["banners @/one: twist echo hello", "a banner before twist"],
  ["setenv A b c: twist echo $A.", "setenv before twist"],
  ["umask 027: twist umask", "umask before twist"],
  ["twist umask", "the umask of a command is tcpd's"],
  ["nice 7: twist nice", "nice before twist"],
  ["user nobody: twist echo done", "user before twist"],
  ["twist stat -Lc %%F - <&0; stat -Lc %%F - <&1", "twist has sockets"],
  ["spawn (readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2) > @/left", "spawn redirected"],
  ["spawn x=$(readlink /proc/$$/fd/0 /proc/$$/fd/2); echo $x > @/left", "spawn has nothing but /dev/null"],
  ["spawn grep SigIgn /proc/self/status > @/left", "spawn ignores SIGHUP"],
  ["setenv A b: spawn echo $A %a %d > @/left", "setenv before spawn"],
  ["umask 077: spawn umask > @/left", "umask before spawn"],
  ["spawn exit 5", "spawn's status counts for nothing"],
  ["spawn echo one >> @/left: spawn sleep 0.1; echo done > @/two/done", "two spawns"],
  ["keepalive: linger 5: nice 3", "socket options"],
  ["nice 2: nice 3: twist nice", "each nice adds to the one before"],
  ["nice: spawn nice > @/left: nice -3: twist nice", "and counts from its place on"],
  ["setenv A\v b: twist echo $A.", "white space behind a variable's name"],
  [`setenv A ${"%a".repeat(909)}xxxxxxx: twist echo \${#A}`, "the longest value that libwrap expands"],
  ["spawn echo %h %n %h > @/left", "a name is known behind its look-up and not before"],
  ["setenv A %h: setenv B %n: spawn echo $A $B %h > @/left", "from option to option"],
  ["spawn echo %s %H >> @/left: spawn echo %N %s %H >> @/left", "the name of the server"],
  [
    "spawn echo %c %h >> @/left: spawn echo %u %c >> @/left: spawn echo %n %c >> @/left",
    "the user and the name",
  ],
  ["spawn echo %c >> @/left: rfc931: spawn echo %c %u >> @/left", "the user by rfc931"],
  ["banners @/who: spawn echo %n %N > @/left", "a banner before the look-up"],
  ["spawn echo %n %N > @/left: banners @/who", "a banner behind the look-up"],
  ["spawn echo %h > @/left: spawn echo %n >> @/left: twist echo %h %H %c", "twist behind the look-up"],
];
for (const [options, because] of rules)
  test(`${options}: ${because}: as with libwrap`, async (t) => {
    const folder = scratchFolder(t);
    for (const name of ["one", "two"]) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "sshd"), `banner ${name} for %d\n`);
    }
    mkdirSync(join(folder, "who"));
    writeFileSync(join(folder, "who", "sshd"), "%h %H %c %s\n");
    writeFileSync(join(folder, "allow"), `ALL: ALL: ${options.replaceAll("@", folder)}\n`);
    assert.deepEqual(await weMake(t, folder), await libwrapMakes(t, folder));
  });
