/** The same random tables and questions for the real libwrap and for us: the same answers. `DECISIONS=1000000` asks longer. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import * as fc from "fast-check";
import { symlinkSync } from "node:fs";
import { decide } from "../../src/access/decide.ts";
import { cutFact, fileName, shorten } from "../../src/access/text.ts";
import type { Source, Verdict } from "../../src/access/types.ts";
import { readWhole } from "../../src/config/files.ts";
import { loadTables } from "../../src/config/load.ts";
import { Libwrap, type LibwrapAnswer } from "../libwrap/libwrap.ts";
import { damaged, listFile, question, repeated, table, type Question } from "../support/random-tables.ts";
import { fuzzSeed } from "../support/fuzz-seed.ts";

const decisions = Number(process.env["DECISIONS"] ?? 120_000);
const perTable = { minLength: 8, maxLength: 16 };

const CONTROL = /\p{Cc}/gu;

const libwrap = new Libwrap();
after(() => libwrap.close());

const [one, two, bytes] = [libwrap.path("one"), libwrap.path("two"), libwrap.path("\xe9list")];
/** Options that libwrap can run here without harm, and that mean the same to us. */
const options = fc.oneof(
  fc.constantFrom(
    "allow",
    "deny",
    " DENY ",
    "allow\r",
    "severity info",
    "severity mail.notice : allow",
    "",
    " ",
  ),
  fc.constantFrom(
    "severity local8.info",
    "severity info.mail",
    "severity",
    "severity = = info",
    "SEVERITY\t=auth.err",
  ),
  fc.constantFrom(
    "keepalive yes",
    "linger -1",
    "linger 1x",
    "linger",
    "rfc931 0",
    "rfc931 5: deny",
    "rfc931 +3",
    "rfc931",
  ),
  fc.constantFrom(
    "nice x",
    "nice 1 2",
    "nice 0",
    "umask 8",
    "umask 022",
    "umask 0777:allow",
    "umask 1777",
    "umask +7",
    "umask -1",
  ),
  fc.constantFrom(
    "setenv A %a %h %c",
    "setenv A=B",
    "setenv A",
    "setenv %q x",
    "setenv A %",
    "setenv A a\\:b : deny",
    "setenv \xe9 \xe9",
    "setenv A\v b",
    "setenv %\xe9 x",
  ),
  fc.constantFrom(
    "user root",
    "user nosuch",
    "user root.root",
    "user root.nosuch",
    "user 0",
    "group root",
    "group nosuch",
  ),
  fc.constantFrom("bogus", "bogus : allow", "allow : deny", "allow:", "=x", "allow=", "a\\:b"),
  fc.string({ unit: fc.constantFrom(...Array.from("allowdeny :\\=\t,#%x\xe9")), maxLength: 12 }),
);
const commandless = fc.constantFrom("spawn", "twist", "aclexec : allow");
const files = [one, two, bytes, libwrap.path("none")];
const tables = fc.record({
  allow: fc.oneof(
    table({
      files,
      options: fc.oneof({ weight: 9, arbitrary: repeated(options) }, { weight: 1, arbitrary: commandless }),
    }),
    damaged(table({ files, options })),
  ),
  deny: fc.oneof(table({ files, options: repeated(options) }), damaged(table({ files, options }))),
  one: listFile({ files: [two, bytes] }),
  two: fc.oneof(listFile(), damaged(listFile())),
  bytes: listFile(),
});
type Texts = typeof tables extends fc.Arbitrary<infer Value> ? Value : never;

test(`libwrap and we agree on ${decisions} random decisions`, async (t) => {
  let asked = 0;
  const granted = { libwrap: 0 };
  const property = fc.asyncProperty(tables, fc.array(question, perTable), async (texts, questions) => {
    const files = filesOf(texts);
    libwrap.write(files);
    const theirs = await libwrap.ask(questions);
    const ours = ourAnswers(files, questions);
    asked += questions.length;
    granted.libwrap += theirs.filter(({ verdict }) => verdict === "granted").length;
    for (const [index, answer] of theirs.entries()) assert.deepEqual(ours[index], gist(answer));
  });
  // The size of the arrays is biased towards few, so tables are drawn until enough has been asked.
  for (let seed = fuzzSeed; asked < decisions; seed++)
    await fc.assert(property, { numRuns: 1000, includeErrorInReport: true, seed });
  t.diagnostic(
    `${asked} decisions compared with libwrap, ${granted.libwrap} granted, 0 undeclared differences`,
  );
  assert.ok(
    granted.libwrap > asked / 10 && granted.libwrap < asked * 0.9,
    "both verdicts are well represented",
  );
});

test("why a list cannot be opened is said in libwrap's words", async () => {
  const circle = libwrap.path("circle");
  symlinkSync(circle, circle);
  const [asked] = fc.sample(question, { numRuns: 1, seed: fuzzSeed });
  assert.ok(asked);
  for (const path of [`${one}/x`, libwrap.path("n".repeat(300)), circle]) {
    libwrap.write({ [libwrap.allow]: `ALL: ${path}\n`, [libwrap.deny]: "", [one]: "" });
    const [answer] = await libwrap.ask([asked]);
    const { diagnostics } = loadTables({
      allow: libwrap.allow,
      deny: libwrap.deny,
      noMatch: "allow",
      read: (name, maxBytes) => readWhole(name, maxBytes).source,
    });
    const [, reason = ""] = /": (.*); it matches nothing$/.exec(diagnostics[0]?.message ?? "") ?? [];
    assert.deepEqual(answer?.log, [`warning: ${libwrap.allow}, line 1: open ${path}: ${reason}`]);
  }
});

function filesOf(texts: Texts): Record<string, Buffer> {
  // Two lines at the end, as the last line without newline is a declared difference; a NUL may swallow one.
  const { allow, deny } = libwrap;
  const texted = {
    [allow]: `${texts.allow}\n#\n`,
    [deny]: `${texts.deny}\n#\n`,
    [one]: texts.one,
    [two]: texts.two,
    [fileName(bytes)]: texts.bytes,
  };
  return Object.fromEntries(
    Object.entries(texted).map(([path, text]) => [path, Buffer.from(text, "latin1")]),
  );
}

function ourAnswers(files: Readonly<Record<string, Buffer>>, questions: readonly Question[]): object[] {
  const read = (path: string): Source => {
    if (path === "/etc/passwd" || path === "/etc/group")
      return { kind: "text", bytes: Buffer.from("root:x:0:0\n") };
    const text = files[path];
    // A damaged path may still lead to a file, by `//` say.
    return text === undefined ? readWhole(path, 1e6).source : { kind: "text", bytes: text };
  };
  const { allow, deny } = libwrap;
  const loaded = loadTables({ allow, deny, noMatch: "allow", read, interfaces: new Set(["lo"]) });
  return questions.map((question) => {
    const verdict = decide(loaded.tables, {
      daemon: cutFact(question.daemon),
      client: { address: question.clientAddr, name: cutFact(question.clientName) },
      server: { address: question.serverAddr, name: question.serverName, port: question.serverPort },
      user: cutFact(question.user),
    });
    if (verdict.kind === "need") return verdict;
    return ourGist(verdict);
  });
}

function ourGist({ kind, rule, diagnostics }: Verdict): object {
  return {
    verdict: kind === "allow" ? "granted" : "denied",
    matched: rule === undefined ? "-" : `${rule.file} line ${rule.line}`,
    complaints: diagnostics.map(({ severity, file, line, message }) => {
      const level = severity === "error" ? "error" : "warning";
      return `${level}: ${file}, line ${line}: ${message.replace(CONTROL, "?")}`;
    }),
  };
}

/** What both must agree on: libwrap also logs what we have said when the table was read, and quotes words of any length. */
function gist({ verdict, matched, log }: LibwrapAnswer): object {
  const complaints = log
    .filter((message) => !/missing ":" separator|setsockopt|nice\(|: open /.test(message))
    .map((message) => message.replace(/(?<=, line \d+: ).*/su, shorten));
  return { verdict, matched, complaints };
}
