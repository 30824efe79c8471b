/** Bad input, from the disk: what is said of it with its place, what still holds, and that it takes neither long nor much. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { decide } from "../../src/access/decide.ts";
import { MAX_LINE_BYTES } from "../../src/access/lines.ts";
import type { Source } from "../../src/access/types.ts";
import { readWhole } from "../../src/config/files.ts";
import { MAX_FILE_BYTES, type Loaded, loadTables } from "../../src/config/load.ts";
import { scratchFolder } from "../support/scratch.ts";

/** Far more than any of these needs, far less than one step too many for each byte would take. */
const withinMs = 10_000;

/** Bytes of memory that reading a table may take for each of its own, and to begin with. */
const bytesEach = 20;
const bytesFirst = 64 << 20;

/** Puts hosts.deny there; `said` are the remarks without the path of the folder: `FILE:LINE:COLUMN severity code`. */
interface Bad {
  readonly what: string;
  readonly put: string | Uint8Array | ((path: string, folder: string) => void);
  readonly said: readonly string[];
  /** Whether 192.0.2.1 gets in as sshd. */
  readonly verdict: "allow" | "refuse";
}

const junk = Uint8Array.from(
  { length: 1 << 20 },
  (_, index) => (Math.imul(index, 2_654_435_761) >>> 13) & 0xff,
);
const [good, missing] = ["sshd: 192.0.2.1\n", "hosts.deny:1:1 warning missing-colon"];

const rows: Bad[] = [
  { what: "a megabyte of binary junk", put: junk, said: ["..."], verdict: "allow" },
  {
    what: "junk behind a rule, which still holds",
    put: Buffer.concat([Buffer.from(good), junk]),
    said: ["..."],
    verdict: "refuse",
  },
  {
    what: "a NUL byte",
    put: `x: 10.\0 y\n${good}`,
    said: ["hosts.deny:1 error unknown-option", "hosts.deny:1:7 warning nul-byte"],
    verdict: "allow",
  },
  {
    what: "a line of 60 MiB",
    put: `${good}${"x".repeat(60 << 20)}\n`,
    said: [`hosts.deny:2:${MAX_LINE_BYTES + 1} error line-too-long`],
    verdict: "refuse",
  },
  {
    what: "a line of 100 MB, which is more than a file may hold",
    put: (path) => {
      writeFileSync(path, good);
      truncateSync(path, 100_000_000);
    },
    said: ["hosts.deny:0 error cannot-open"],
    verdict: "refuse",
  },
  {
    what: "a million colons",
    put: `${":".repeat(1_000_000)}\n`,
    said: Array.from({ length: 1000 }, (_, index) => `hosts.deny:1:${index + 3} error missing-option-name`),
    verdict: "allow",
  },
  {
    what: "exceptions 80,000 deep",
    put: `sshd: ${"ALL EXCEPT ".repeat(80_000)}ALL\n`,
    said: [],
    verdict: "refuse",
  },
  {
    what: "a million lines without a colon",
    put: "x\n".repeat(1_000_000),
    said: Array.from({ length: 1000 }, (_, index) => `hosts.deny:${index + 1}:1 warning missing-colon`),
    verdict: "allow",
  },
  {
    what: "bytes that are no UTF-8",
    put: Buffer.from(`\xff\xfe \xc0\n${good}`, "latin1"),
    said: [missing],
    verdict: "refuse",
  },
  {
    what: "a file that includes itself",
    put: (path, folder) => {
      writeFileSync(join(folder, "list"), `10.\n  ${folder}/list 192.0.2.1`);
      writeFileSync(path, `sshd: ${folder}/list\n`);
    },
    said: ["list:2:3 error list-includes-itself"],
    verdict: "refuse",
  },
  {
    what: "a FIFO in place of the table",
    put: (path) => void execFileSync("mkfifo", [path]),
    said: ["hosts.deny:0 error cannot-open"],
    verdict: "refuse",
  },
  {
    what: "a FIFO in place of a file",
    put: (path, folder) => {
      execFileSync("mkfifo", [join(folder, "list")]);
      writeFileSync(path, `sshd: ${folder}/list, 192.0.2.1\n`);
    },
    said: ["hosts.deny:1:7 warning list-unreadable"],
    verdict: "refuse",
  },
  {
    what: "an endless device",
    put: (path) => symlinkSync("/dev/zero", path),
    said: ["hosts.deny:0 error cannot-open"],
    verdict: "refuse",
  },
  {
    what: "a circle of links",
    put: (path) => symlinkSync(path, path),
    said: ["hosts.deny:0 error cannot-open"],
    verdict: "refuse",
  },
  {
    what: "a directory in place of the table, which is empty for libwrap too",
    put: (path) => mkdirSync(path),
    said: ["hosts.deny:0 warning table-is-directory"],
    verdict: "allow",
  },
  {
    what: "a directory in place of a file",
    put: (path, folder) => writeFileSync(path, `sshd: ${folder}, 192.0.2.1\n`),
    said: ["hosts.deny:1:7 warning list-unreadable"],
    verdict: "refuse",
  },
  {
    what: "a link to /dev/null, which switches the table off",
    put: (path) => symlinkSync("/dev/null", path),
    said: [],
    verdict: "allow",
  },
];
for (const { what, put, said, verdict } of rows) {
  test(
    `${what}: ${verdict === "allow" ? "nobody is refused for it" : "the client is refused"}`,
    { timeout: withinMs },
    (t) => {
      const folder = scratchFolder(t);
      const deny = join(folder, "hosts.deny");
      if (typeof put === "function") put(deny, folder);
      else writeFileSync(deny, put);
      const before = process.memoryUsage().rss;
      const loaded = load(join(folder, "hosts.allow"), deny);
      const taken = process.memoryUsage().rss - before;
      const bound =
        Math.min(typeof put === "function" ? 0 : put.length, MAX_FILE_BYTES) * bytesEach + bytesFirst;
      assert.ok(taken < bound, `${taken} bytes taken`);
      const remarks = remarksOf(loaded, folder);
      if (said[0] === "...") {
        assert.ok(
          remarks.length > 0 && remarks.length <= 2000,
          "there is something to say, and a bound to it",
        );
        for (const remark of remarks)
          assert.match(remark, /^hosts\.deny:\d+(:\d+)? (error|warning) [a-z-]+$/);
      } else assert.deepEqual(remarks, said);
      assert.equal(verdictOf(loaded), verdict);
    },
  );
}

test("what is said of a megabyte quotes its beginning only", (t) => {
  const deny = join(scratchFolder(t), "hosts.deny");
  const long = "x".repeat(1_000_000);
  const texts = [`sshd: ALL: ${long}\n`, `sshd: ALL: umask ${long}\n`, `sshd: /${long}\n`, `${long}\n`];
  for (const text of [...texts, `sshd: ALL: umask ${'"7'.repeat(500_000)}\n`]) {
    writeFileSync(deny, text);
    const { diagnostics, tables } = load("/nonexistent", deny);
    const client = { address: "192.0.2.1" };
    const step = decide(tables, { daemon: "sshd", client, server: { address: "198.51.100.1" } });
    const met = step.kind === "need" ? [] : step.diagnostics;
    assert.ok(diagnostics.length > 0);
    for (const { message } of [...diagnostics, ...met])
      assert.ok(message.length < 1200, message.slice(0, 80));
  }
});

test("twice the junk takes no more than a few times as long", { timeout: 60_000 }, (t) => {
  const deny = join(scratchFolder(t), "hosts.deny");
  const cpuMs = (size: number): number => {
    writeFileSync(deny, Buffer.concat(Array.from({ length: size }, () => junk)));
    const before = process.cpuUsage();
    load("/nonexistent", deny);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  cpuMs(4);
  const [small, large] = [Math.max(cpuMs(4), 20), cpuMs(16)];
  assert.ok(large < small * 12, `4 MiB in ${small} ms, 16 MiB in ${large} ms`);
});

function load(allow: string, deny: string): Loaded {
  const read = (path: string, maxBytes: number): Source => readWhole(path, maxBytes).source;
  return loadTables({ allow, deny, noMatch: "allow", read });
}

function verdictOf({ tables }: Loaded): string {
  const client = { address: "192.0.2.1", name: "host.test" };
  return decide(tables, { daemon: "sshd", client, server: { address: "198.51.100.1" }, user: "bob" }).kind;
}

function remarksOf({ diagnostics }: Loaded, folder: string): string[] {
  return diagnostics.map(({ file, line, column, severity, code }) => {
    const place = [file.replace(`${folder}/`, ""), line, ...(column === undefined ? [] : [column])];
    return `${place.join(":")} ${severity} ${code}`;
  });
}
