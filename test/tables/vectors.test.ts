/** Every recorded verdict of libwrap 7.6.q: ours is the same, or stands in the list of declared differences. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decide } from "../../src/access/decide.ts";
import type { CommandOutcome, Diagnostic, Source, Verdict } from "../../src/access/types.ts";
import { loadTables } from "../../src/config/load.ts";

interface Vector {
  id: string;
  allow: string | null;
  deny: string | null;
  daemon: string | null;
  clientName: string | null;
  clientAddr: string | null;
  user: string | null;
  serverName: string | null;
  serverAddr: string | null;
  serverPort?: number;
  files?: Record<string, string | null>;
  netgroup?: string;
  result: "granted" | "denied" | "twist" | "exit" | "crash";
  matched: string | null;
  log: string[];
}

// From the root of the repository, as the mutation tests run from a folder of compiled files.
const vectors = JSON.parse(readFileSync("test/tables/libwrap-vectors.json", "utf8")) as Vector[];

/** The number of the difference in docs/differences.md, for each vector where we differ on purpose. */
const DECLARED: Readonly<Record<string, number>> = Object.fromEntries([
  ...["line-01", "line-02", "line-03", "line-04", "line-06", "line-40", "line-41", "line-42", "line-59", "opt-129"].map(
    (id) => [id, 1] as const,
  ),
  ...["line-45", "line-46", "line-47", "line-48", "line-51"].map((id) => [id, 2] as const),
  ...[89, 90, 91, 92, 93, 94, 97, 99, 100, 101, 102].map((id) => [`opt-${id}`, 4] as const),
  ...[17, 18, 19, 20, 21, 22].map((id) => [`opt-${id}`, 5] as const),
  ["file-30", 8],
  ["opt-122", 9],
]);

const VERDICTS = { granted: "allow", denied: "refuse", twist: "twist", exit: "exit", crash: "crash" } as const;

let passed = 0;
let declared = 0;
for (const vector of vectors) {
  const number = DECLARED[vector.id];
  const because = number === undefined ? "as libwrap" : `declared difference ${number}`;
  test(`${vector.id}: ${because}`, () => {
    const { verdict, said } = answer(vector);
    const place = verdict.rule && `${verdict.rule.file} line ${verdict.rule.line}`;
    const ours = { verdict: verdict.kind, rule: place ?? null, said };
    const theirs = { verdict: VERDICTS[vector.result], rule: vector.matched, said: complaints(vector.log) };
    if (number === undefined) {
      assert.deepEqual(ours, theirs);
      passed++;
    } else {
      assert.notDeepEqual(ours, theirs);
      declared++;
    }
  });
}

test("all vectors are accounted for", (t) => {
  t.diagnostic(`${vectors.length} vectors, ${passed} pass, ${declared} declared`);
  for (const [id, number] of Object.entries(DECLARED)) t.diagnostic(`declared: ${id} by difference ${number}`);
  assert.equal(passed + declared, vectors.length);
});

/** Our verdict, and what the log is told in tcpd's own words. */
function answer(vector: Vector): { verdict: Verdict; said: string[] } {
  const { tables, diagnostics } = loadTables({
    allow: "hosts.allow",
    deny: "hosts.deny",
    noMatch: "allow",
    read: (path) => sourceOf(vector, path),
    interfaces: new Set(["lo"]),
  });
  const known = {
    daemon: vector.daemon ?? "unknown",
    client: { address: vector.clientAddr || "unknown", name: vector.clientName || "unknown" },
    server: {
      address: vector.serverAddr || "unknown",
      name: vector.serverName || "unknown",
      ...(vector.serverPort !== undefined && { port: vector.serverPort }),
    },
    user: vector.user || "unknown",
  };
  const commands: CommandOutcome[] = [];
  for (;;) {
    const step = decide(tables, { ...known, commands });
    if (step.kind !== "need") {
      // tcpd complains of a line only when it comes to it; we complain when we read the table.
      const decides = (file: string, line: number): boolean =>
        step.rule === undefined || (file === step.rule.file ? line < step.rule.line : file === "hosts.allow");
      const skipped = diagnostics.filter(({ code, file, line }) => code === "missing-colon" && decides(file, line));
      const said = step.diagnostics.filter(({ code }) => code !== "aclexec-failed");
      return {
        verdict: step,
        said: [...skipped.map(({ file, line }) => `${file}, line ${line}: missing ":" separator`), ...said.map(inWords)],
      };
    }
    assert.equal(step.fact.kind, "aclexec", "the vectors hold every other fact");
    const line = step.fact.kind === "aclexec" ? step.fact.command.line : "";
    commands.push(/false|kill|nonexistent/.test(line) ? "failed" : "succeeded");
  }
}

function inWords({ file, line, message }: Diagnostic): string {
  return `${file}, line ${line}: ${message.replace(/^expansion/, "percent_x: expansion")}`;
}

/** The lines of libwrap's log that are about the rules; the others tell of things done, which is not our part. */
function complaints(log: readonly string[]): string[] {
  const rules = /^err: (?:error|warning): (.*(?:error|separator|option|unrecognized|bad |unknown |percent_x|memory).*)$/;
  return log.flatMap((line) => rules.exec(line)?.[1] ?? []);
}

function sourceOf(vector: Vector, path: string): Source {
  const text =
    path === "hosts.allow"
      ? vector.allow
      : path === "hosts.deny"
        ? vector.deny
        : path === "/etc/netgroup"
          ? vector.netgroup
          : path === "/etc/passwd"
            ? "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
            : path === "/etc/group"
              ? "root:x:0:\nnogroup:x:65534:\n"
              : vector.files?.[path];
  if (text !== undefined && text !== null) return { kind: "text", bytes: Buffer.from(text, "utf8") };
  const isDirectory = vector.files?.[`${path}/`] !== undefined || vector.files?.[path] === null;
  return isDirectory ? { kind: "unreadable", reason: "is a directory" } : { kind: "missing" };
}
