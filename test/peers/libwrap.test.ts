/** The same random tables and questions for the real libwrap and for us: the same answers. `DECISIONS=1000000` asks longer. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import * as fc from "fast-check";
import { decide } from "../../src/access/decide.ts";
import type { Source, Verdict } from "../../src/access/types.ts";
import { readWhole } from "../../src/config/files.ts";
import { loadTables } from "../../src/config/load.ts";
import { Libwrap, type LibwrapAnswer } from "../libwrap/libwrap.ts";
import { damaged, listFile, question, table, type Question } from "../support/random-tables.ts";
import { fuzzSeed } from "../support/fuzz-seed.ts";

const decisions = Number(process.env["DECISIONS"] ?? 120_000);
const perTable = { minLength: 8, maxLength: 16 };

const CONTROL = /\p{Cc}/gu;

const libwrap = new Libwrap();
after(() => libwrap.close());

const [one, two] = [libwrap.path("one"), libwrap.path("two")];
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
  fc.string({ unit: fc.constantFrom(...Array.from("allowdeny :\\=\t,#%x")), maxLength: 12 }),
);
const commandless = fc.constantFrom("spawn", "twist", "aclexec : allow");
const files = [one, two, libwrap.path("none")];
const tables = fc.record({
  allow: fc.oneof(
    table({
      files,
      options: fc.oneof({ weight: 9, arbitrary: options }, { weight: 1, arbitrary: commandless }),
    }),
    damaged(table({ files, options })),
  ),
  deny: fc.oneof(table({ files, options }), damaged(table({ files, options }))),
  one: listFile({ files: [two] }),
  two: fc.oneof(listFile(), damaged(listFile())),
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

function filesOf(texts: Texts): Record<string, string> {
  // Two lines at the end, as the last line without newline is a declared difference; a NUL may swallow one.
  const { allow, deny } = libwrap;
  return { [allow]: `${texts.allow}\n#\n`, [deny]: `${texts.deny}\n#\n`, [one]: texts.one, [two]: texts.two };
}

function ourAnswers(files: Readonly<Record<string, string>>, questions: readonly Question[]): object[] {
  const read = (path: string): Source => {
    if (path === "/etc/passwd" || path === "/etc/group")
      return { kind: "text", bytes: Buffer.from("root:x:0:0\n") };
    const text = files[path];
    // A damaged path may still lead to a file, by `//` say.
    return text === undefined ? readWhole(path, 1e6).source : { kind: "text", bytes: Buffer.from(text) };
  };
  const { allow, deny } = libwrap;
  const loaded = loadTables({ allow, deny, noMatch: "allow", read, interfaces: new Set(["lo"]) });
  return questions.map((question) => {
    const verdict = decide(loaded.tables, {
      daemon: question.daemon,
      client: { address: question.clientAddr, name: question.clientName },
      server: { address: question.serverAddr, name: question.serverName, port: question.serverPort },
      user: question.user,
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

/** What both must agree on: libwrap also logs what we have said when the table was read. */
function gist({ verdict, matched, log }: LibwrapAnswer): object {
  const complaints = log.filter(
    (message) => !/missing ":" separator|setsockopt|nice\(|: open /.test(message),
  );
  return { verdict, matched, complaints };
}
