/** What holds for every table and every question. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { decide } from "../../src/access/decide.ts";
import { printTable } from "../../src/access/print.ts";
import { fileName } from "../../src/access/text.ts";
import type { Table, Tables } from "../../src/access/tables.ts";
import type { CommandOutcome, Request, Source, Step } from "../../src/access/types.ts";
import { loadTables } from "../../src/config/load.ts";
import { listFile, question, repeated, table, type Question } from "../support/random-tables.ts";
import { generator } from "../bench/access-table.ts";
import { fuzzSeed } from "../support/fuzz-seed.ts";

const FILES = ["/lists/one", "/lists/two", "/lists/\xe9"];
const option = fc.oneof(
  fc.constantFrom(
    "allow",
    "deny",
    "severity info",
    "severity x",
    "spawn echo %h %n",
    "twist cat",
    "keepalive",
  ),
  fc.constantFrom(
    "rfc931 5",
    "aclexec true : allow",
    "allow:",
    "",
    "umask 9",
    "setenv A %u",
    "user root",
    "banners /b",
  ),
  fc.constantFrom("nice 2", "nice", "nice -3", "setenv \xe9 \xe9", "spawn echo \xe9", "banners /\xe9"),
  fc.string({ unit: "binary-ascii", maxLength: 20 }),
);
const options = repeated(option);
const ingredients = { files: [...FILES, "/lists/none"], options };
const pair = fc.record({
  allow: table(ingredients),
  deny: table(ingredients),
  one: listFile(ingredients),
  two: listFile(ingredients),
  three: listFile(ingredients),
});
type Pair = typeof pair extends fc.Arbitrary<infer Value> ? Value : never;

test("the index decides as asking every rule in order does, and asks for the same facts", () => {
  fc.assert(
    fc.property(pair, fc.array(question, { minLength: 4, maxLength: 8 }), (texts, questions) => {
      const tables = load(texts);
      const plain = withoutIndex(tables);
      for (const question of questions) {
        assert.deepEqual(course(tables, question), course(plain, question));
      }
    }),
    { numRuns: runs(4000), seed: fuzzSeed },
  );
});

test("a large table decides as asking every rule in order does", () => {
  const random = generator(fuzzSeed);
  const four = (): number => random(4);
  // Few different upper halves, so that blocks are full and prefixes nest.
  const quad = (): number[] => [10 + four(), four(), random(256), random(256)];
  const word = (): string => {
    const [one = 0, next = 0, third = 0, last = 0] = quad();
    const words = [
      `${one}.${next}.${third}.${last}`,
      `${one}.${next}.${third}.0/24`,
      `${one}.${next}.${third & 240}.0/20`,
      `[2001:db8:${third.toString(16)}::]/${32 + random(30)}`,
      `h${third}.example.org`,
      `.d${third}.example`,
    ];
    return random(2000) === 0 ? `${one}.${next & 2}.0.0/15` : (words[random(words.length)] ?? "");
  };
  const daemons = ["ALL", "sshd", "mysqld", "sshd mysqld"];
  const lines = Array.from({ length: 9000 }, () => `${daemons[four()] ?? ""}: ${word()}\n`);
  const tables = load({ allow: "", deny: lines.join(""), one: "", two: "", three: "" });
  const plain = withoutIndex(tables);
  assert.ok((tables.deny.index?.hosts.blocks.cells.length ?? 0) > 0, "it is large enough for blocks");
  for (let round = 0; round < runs(200); round++) {
    const clientAddr =
      round % 5 === 0 ? `2001:db8:${random(256).toString(16)}::${random(256)}` : quad().join(".");
    const clientName = round % 3 === 0 ? `h${random(512)}.example.org` : `www.d${random(512)}.example`;
    const question = {
      daemon: ["sshd", "mysqld", "ftpd"][round % 3] ?? "",
      clientAddr,
      clientName,
      user: "unknown",
      serverName: "unknown",
      serverAddr: "198.51.100.1",
      serverPort: 22,
    };
    assert.deepEqual(course(tables, question), course(plain, question), JSON.stringify(question));
  }
});

test("a printed table decides as the table it was printed from", () => {
  fc.assert(
    fc.property(pair, fc.array(question, { minLength: 4, maxLength: 8 }), (texts, questions) => {
      const tables = load(texts);
      const again = load({ ...texts, allow: printTable(tables.allow), deny: printTable(tables.deny) });
      for (const question of questions) {
        assert.deepEqual(course(again, question).map(gist), course(tables, question).map(gist));
      }
    }),
    { numRuns: runs(1500), seed: fuzzSeed },
  );
});

test("neither reading nor deciding throws, whatever the bytes", () => {
  const junk = fc.oneof(fc.uint8Array({ maxLength: 200 }), pieces());
  fc.assert(
    fc.property(junk, junk, junk, question, (allow, deny, list, question) => {
      const tables = loadTables({
        allow: "allow",
        deny: "deny",
        noMatch: "allow",
        read: (path) => ({ kind: "text", bytes: path === "allow" ? allow : path === "deny" ? deny : list }),
      }).tables;
      assert.deepEqual(course(tables, question), course(withoutIndex(tables), question));
    }),
    { numRuns: runs(3000), seed: fuzzSeed },
  );
});

/** Bytes that mean something, in any order. */
function pieces(): fc.Arbitrary<Uint8Array> {
  const piece = fc.constantFrom(
    "ALL",
    "sshd",
    ":",
    " ",
    "\n",
    "\\",
    "\\\n",
    "\0",
    "\r",
    "#",
    "EXCEPT",
    "[",
    "]",
    "@",
    "/",
    "/x",
    "*",
    "?",
    ".",
    "10.0.0.1",
    "10.",
    "/8",
    "\xef\xbb\xbf",
    "\xff",
    "allow",
    "deny",
    "%",
    "severity",
    "=",
    ",",
    "-",
    "\v",
    "KNOWN",
    "é",
  );
  return fc.array(piece, { maxLength: 40 }).map((parts) => Buffer.from(parts.join(""), "latin1"));
}

function load({ allow, deny, one, two, three }: Pair): Tables {
  const [first = "", second = "", third = ""] = FILES.map(fileName);
  const files: Record<string, string> = { allow, deny, [first]: one, [second]: two, [third]: three };
  const read = (path: string): Source => {
    const text = files[path];
    return text === undefined ? { kind: "missing" } : { kind: "text", bytes: Buffer.from(text, "latin1") };
  };
  return loadTables({ allow: "allow", deny: "deny", noMatch: "allow", read, interfaces: new Set(["lo"]) })
    .tables;
}

function withoutIndex(tables: Tables): Tables {
  const bare = ({ file, rules, broken }: Table): Table =>
    broken ? { file, rules, broken } : { file, rules };
  const lists = [...tables.lists].map(
    ([path, { patterns, leftOut }]) => [path, { patterns, leftOut }] as const,
  );
  return { ...tables, allow: bare(tables.allow), deny: bare(tables.deny), lists: new Map(lists) };
}

/** Every step from a request that knows nothing to the verdict. */
function course(tables: Tables, question: Question): Step[] {
  const steps: Step[] = [];
  const client: { address: string; port: number; name?: string } = {
    address: question.clientAddr,
    port: 40_000,
  };
  const server: typeof client = { address: question.serverAddr, port: question.serverPort };
  const commands: CommandOutcome[] = [];
  const request: { -readonly [Key in keyof Request]: Request[Key] } = {
    daemon: question.daemon,
    client,
    server,
    commands,
  };
  for (let round = 0; round < 30; round++) {
    const step = decide(tables, request);
    steps.push(step);
    if (step.kind !== "need") return steps;
    const { kind } = step.fact;
    if (kind === "clientName") client.name = question.clientName;
    if (kind === "serverName") server.name = question.serverName;
    if (kind === "user") request.user = question.user;
    if (kind === "aclexec") commands.push("succeeded");
  }
  return assert.fail("a decision that asks for ever");
}

/** A step without its place, which printing changes. */
function gist(step: Step): object {
  if (step.kind === "need") return step;
  return {
    ...step,
    rule: undefined,
    diagnostics: step.diagnostics.map(({ code, message }) => ({ code, message })),
  };
}

/** How often a property is tried: FUZZ=10 tries ten times as often. */
function runs(usual: number): number {
  return usual * Number(process.env["FUZZ"] ?? 1);
}
