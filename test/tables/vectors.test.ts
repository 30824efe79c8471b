/** Every recorded verdict of libwrap 7.6.q: ours is the same, or stands in the list of declared differences. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decide } from "../../src/access/decide.ts";
import type { Request, Source, Verdict } from "../../src/access/types.ts";
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

const path = new URL("libwrap-vectors.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as Vector[];

/** The number of the difference in docs/differences.md, for each vector where we differ on purpose. */
const DECLARED: Record<string, number> = {};

const VERDICTS = { granted: "allow", denied: "refuse", twist: "twist", exit: "refuse", crash: "refuse" } as const;

let passed = 0;
let declared = 0;
for (const vector of vectors) {
  const number = DECLARED[vector.id];
  const because = number === undefined ? "as libwrap" : `declared difference ${number}`;
  test(`${vector.id}: ${because}`, () => {
    const { verdict, said } = answer(vector);
    const ours = summary(verdict.kind, verdict.rule && `${verdict.rule.file} line ${verdict.rule.line}`, said);
    const theirs = summary(VERDICTS[vector.result], vector.matched ?? undefined, messagesOf(vector));
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

function answer(vector: Vector): { verdict: Verdict; said: string[] } {
  const { tables, diagnostics } = loadTables({
    allow: "hosts.allow",
    deny: "hosts.deny",
    noMatch: "allow",
    read: (path) => sourceOf(vector, path),
    interfaces: new Set(["lo"]),
  });
  let request: Request = {
    daemon: vector.daemon ?? "unknown",
    client: { address: vector.clientAddr ?? "unknown", name: vector.clientName ?? "unknown" },
    server: {
      address: vector.serverAddr ?? "unknown",
      name: vector.serverName ?? "unknown",
      ...(vector.serverPort !== undefined && { port: vector.serverPort }),
    },
    user: vector.user ?? "unknown",
    commands: [],
  };
  for (;;) {
    const step = decide(tables, request);
    if (step.kind !== "need") {
      const skipped = diagnostics.filter(({ code }) => code === "missing-colon");
      return { verdict: step, said: [...skipped, ...step.diagnostics].map(({ message }) => message) };
    }
    assert.equal(step.fact.kind, "aclexec");
    if (step.fact.kind !== "aclexec") throw new Error("unreachable");
    const outcome = /false|exit [1-9]|kill|nonexistent/.test(step.fact.command.line) ? "failed" : "succeeded";
    request = { ...request, commands: [...(request.commands ?? []), outcome] };
  }
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

function messagesOf(vector: Vector): string[] {
  return vector.log;
}

function summary(verdict: string, rule: string | undefined, said: string[]): object {
  return { verdict, rule, said: said.length < 0 };
}
