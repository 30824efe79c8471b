import assert from "node:assert/strict";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { execFileSync } from "node:child_process";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { LiveTables } from "../../src/config/live.ts";
import { tablesBed, verdictOf } from "../support/live-tables.ts";

const edits: [how: string, edit: (file: string) => void][] = [
  ["append", (file) => appendFileSync(file, "ALL: 192.0.2.7\n")],
  ["truncate and write", (file) => writeFileSync(file, "ALL: 192.0.2.7\n")],
  ["write without a final newline", (file) => writeFileSync(file, "ALL: 192.0.2.7")],
  [
    "rename over",
    (file) => {
      writeFileSync(`${file}.new`, "ALL: 192.0.2.7\n");
      renameSync(`${file}.new`, file);
    },
  ],
  [
    "rename over, three times",
    (file) => {
      for (const address of ["192.0.2.5", "192.0.2.6", "192.0.2.7"]) {
        writeFileSync(`${file}.new`, `ALL: ${address}\n`);
        renameSync(`${file}.new`, file);
      }
    },
  ],
  ["sed -i", (file) => execFileSync("sed", ["-i", "s/192.0.2.66/192.0.2.7/", file])],
  [
    "the editor's dance: old file away, new one in its place",
    (file) => {
      renameSync(file, `${file}~`);
      writeFileSync(file, "ALL: 192.0.2.7\n");
    },
  ],
];
for (const [how, edit] of edits) {
  test(`live tables: the next decision after ${how} is by the new file`, async (t) => {
    const { deny, live } = await tablesBed(t);
    assert.equal(await verdictOf(live, "192.0.2.7"), "allow");
    edit(deny);
    assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
  });
}

test("live tables: two edits of the same length within one tick of the file's clock are both seen", async (t) => {
  const { deny, live } = await tablesBed(t, { deny: "ALL: 192.0.2.1\n" });
  for (let round = 2; round < 9; round += 1) {
    writeFileSync(`${deny}.new`, `ALL: 192.0.2.${round}\n`);
    renameSync(`${deny}.new`, deny);
    assert.equal(await verdictOf(live, `192.0.2.${round}`), "refuse");
    appendFileSync(deny, `ALL: 192.0.3.${round}\n`);
    assert.equal(await verdictOf(live, `192.0.3.${round}`), "refuse");
  }
});

test("G3: live tables follow the swap of a symbolic link in the middle of the path", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-live-"));
  for (const [name, address] of [
    ["..1", "192.0.2.6"],
    ["..2", "192.0.2.7"],
  ] as const) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, "hosts.deny"), `ALL: ${address}\n`);
  }
  symlinkSync("..1", join(folder, "..data"));
  symlinkSync("..data/hosts.deny", join(folder, "hosts.deny"));
  const deny = join(folder, "hosts.deny");
  const live = await LiveTables.open({
    allow: join(folder, "none"),
    deny,
    noMatch: "allow",
    missing: "empty",
    onChange: () => undefined,
  });
  t.after(() => {
    live.close();
    rmSync(folder, { recursive: true });
  });
  assert.equal(await verdictOf(live, "192.0.2.7"), "allow");
  symlinkSync("..2", join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
  assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
});

test("G1: live tables never judge by a half-written file", async (t) => {
  const { deny, live } = await tablesBed(t, { deny: "ALL: 192.0.2.66\nALL: 192.0.2.67\n" });
  const seen = new Set<number>();
  let isWriting = true;
  const ask = async (): Promise<void> => {
    while (isWriting) {
      const now = live.fresh();
      if (now !== undefined) {
        seen.add(now.denyRules);
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
  const asking = ask();
  writeFileSync(deny, "");
  await new Promise((resolve) => setTimeout(resolve, 60));
  appendFileSync(deny, "ALL: 192.0.2.67\nALL: 192");
  await new Promise((resolve) => setTimeout(resolve, 60));
  appendFileSync(deny, ".0.2.68\nALL: 192.0.2.69\n");
  assert.equal(await verdictOf(live, "192.0.2.69"), "refuse");
  isWriting = false;
  await asking;
  seen.add(live.current.denyRules);
  // The old file had two rules and the new one has three; half of it has none, one or two.
  assert.deepEqual(seen, new Set([2, 3]));
});

test("live tables: a deleted table is empty, as with tcpd, and its return counts", async (t) => {
  const { deny, live } = await tablesBed(t);
  unlinkSync(deny);
  assert.equal(await verdictOf(live, "192.0.2.66"), "allow");
  writeFileSync(deny, "ALL: 192.0.2.66\n");
  assert.equal(await verdictOf(live, "192.0.2.66"), "refuse");
});

test("G7: live tables with missing: keep stay as they were when a table is deleted, and say so once", async (t) => {
  const { deny, live, changes } = await tablesBed(t, { missing: "keep" });
  unlinkSync(deny);
  assert.equal(await verdictOf(live, "192.0.2.66"), "refuse");
  assert.equal(await verdictOf(live, "192.0.2.66"), "refuse");
  assert.deepEqual(
    changes.flatMap(({ kept }) => (kept === undefined ? [] : [kept.message])),
    ["cannot read it: the file is gone"],
  );
  writeFileSync(deny, "ALL: 192.0.2.7\n");
  assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
  assert.equal(await verdictOf(live, "192.0.2.66"), "allow");
});

test("G7: live tables stay as they were when a table becomes a directory", async (t) => {
  const { deny, live, changes } = await tablesBed(t);
  unlinkSync(deny);
  mkdirSync(deny);
  assert.equal(await verdictOf(live, "192.0.2.66"), "refuse");
  assert.equal(changes.at(-1)?.kept?.code, "table-kept");
});

test("G7: live tables stay as they were when a table becomes a FIFO", async (t) => {
  const { deny, live, changes } = await tablesBed(t);
  unlinkSync(deny);
  execFileSync("mkfifo", [deny]);
  assert.equal(await verdictOf(live, "192.0.2.66"), "refuse");
  assert.equal(changes.at(-1)?.kept?.code, "table-kept");
});

test("G7: live tables stay as they were when a table may not be read any more, and nobody waits for it again", async (t) => {
  const { deny, live, changes } = await tablesBed(t);
  chmodSync(dirname(deny), 0o755);
  chmodSync(deny, 0);
  // Root could read it all the same.
  if (process.getuid?.() === 0) {
    process.seteuid?.(65534);
    t.after(() => process.seteuid?.(0));
  }
  assert.equal(await verdictOf(live, "192.0.2.66"), "refuse");
  assert.equal(changes.at(-1)?.kept?.message, "cannot read it: Permission denied");
  assert.equal(live.fresh()?.number, 1, "it is the same file still");
  if (process.getuid?.() === 0) process.seteuid?.(0);
  chmodSync(deny, 0o644);
  appendFileSync(deny, "ALL: 192.0.2.7\n");
  assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
});

test("G7: live tables stay as they were when a table cannot be opened, and decisions go on", async (t) => {
  const { deny, live, changes } = await tablesBed(t);
  unlinkSync(deny);
  const socket = createServer().listen(deny); // opening it is an error: ENXIO
  t.after(() => socket.close());
  for (let round = 0; round < 3; round += 1) assert.equal(await verdictOf(live, "192.0.2.66"), "refuse");
  assert.equal(changes.at(-1)?.kept?.code, "table-kept");
});

test("live tables follow the files that rules name", async (t) => {
  const { deny, live } = await tablesBed(t);
  const list = `${deny}.list`;
  writeFileSync(deny, `ALL: ${list}\n`);
  writeFileSync(list, "192.0.2.5\n");
  assert.equal(await verdictOf(live, "192.0.2.5"), "refuse");
  appendFileSync(list, "192.0.2.7\n");
  assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
});

test("live tables load once for one edit, and not at all for a touch", async (t) => {
  const { deny, live, changes } = await tablesBed(t);
  appendFileSync(deny, "ALL: 192.0.2.7\n");
  for (let round = 0; round < 20; round += 1) await live.settled(AbortSignal.timeout(10_000));
  assert.equal(changes.length, 2);
  execFileSync("touch", [deny]);
  await live.settled(AbortSignal.timeout(10_000));
  assert.equal(changes.length, 2);
  assert.deepEqual(
    changes.map(({ generation }) => generation.number),
    [1, 2],
  );
});

test("live tables notice an edit without any connection", async (t) => {
  const { deny, live } = await tablesBed(t);
  writeFileSync(deny, "ALL: 192.0.2.7\n");
  const deadline = Date.now() + 10_000;
  while (live.current.number === 1 && Date.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(live.current.number, 2);
});

test("A18: live tables load a large file beside the decisions, which go on by the old one", async (t) => {
  const lines = Array.from(
    { length: 40_000 },
    (_, index) => `ALL: 10.${index >> 16}.${(index >> 8) & 255}.${index & 255}\n`,
  );
  const { deny, live, changes } = await tablesBed(t, { deny: lines.join("") });
  assert.equal(live.current.denyRules, 40_000);
  assert.equal(await verdictOf(live, "10.0.4.2"), "refuse");
  appendFileSync(deny, "ALL: 192.0.2.7\n");
  assert.equal(live.fresh()?.number, 1, "nobody waits");
  const deadline = Date.now() + 10_000;
  while (live.current.number === 1 && Date.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
  assert.equal(changes.length, 2);
  writeFileSync(`${deny}.new`, "ALL: 192.0.2.8\n");
  renameSync(`${deny}.new`, deny);
  while (live.current.number === 2 && Date.now() < deadline) {
    live.fresh();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(await verdictOf(live, "192.0.2.8"), "refuse");
  assert.equal(await verdictOf(live, "10.0.4.2"), "allow");
  appendFileSync(deny, "ALL: 192.0.2.9\n");
  assert.equal(await verdictOf(live, "192.0.2.9"), "refuse", "small again: at once");
});

/** As many rules as count for the next connection, whatever their length; together they are loaded in the background. */
const longRules = Array.from(
  { length: 9_990 },
  (_, index) =>
    `sshd: 10.0.${index >> 8}.${index & 255}: severity auth.info: spawn /bin/true ${"x".repeat(30)}\n`,
).join("");
for (const [how, edit] of [
  ["an append", (deny) => appendFileSync(deny, "ALL: 192.0.2.7\n")],
  [
    "a rename",
    (deny) => {
      writeFileSync(`${deny}.new`, `${longRules}ALL: 192.0.2.7\n`);
      renameSync(`${deny}.new`, deny);
    },
  ],
] as [string, (deny: string) => void][])
  test(`live tables: ten thousand long rules, too: the next decision after ${how} is by the new file`, async (t) => {
    const { deny, live } = await tablesBed(t, { deny: longRules });
    assert.equal(await verdictOf(live, "192.0.2.7"), "allow");
    edit(deny);
    assert.equal(live.fresh(), undefined, "decisions wait");
    assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
    edit(deny);
    assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
  });

const manyAddresses = Array.from(
  { length: 60_000 },
  (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}\n`,
).join("");

test("A18: a small table that begins to name a large list has it loaded in the background, and the next decision by it", async (t) => {
  const { deny, live } = await tablesBed(t);
  const list = join(dirname(deny), "list");
  writeFileSync(list, manyAddresses);
  appendFileSync(deny, `ALL: ${list}\n`);
  assert.equal(live.fresh(), undefined, "it is not loaded between two events");
  assert.equal(await verdictOf(live, "10.0.4.2"), "refuse");
  assert.equal(live.current.number, 2);
});

test("A18: tables that name a large list are loaded in the background at the start, too", async (t) => {
  const list = join(mkdtempSync(join(tmpdir(), "list-")), "list");
  t.after(() => rmSync(dirname(list), { recursive: true }));
  writeFileSync(list, manyAddresses);
  const { live } = await tablesBed(t, { deny: `ALL: ${list}\n` });
  assert.equal(await verdictOf(live, "10.0.4.2"), "refuse");
  assert.equal(await verdictOf(live, "192.0.2.7"), "allow");
});

for (const [what, spoil] of [
  [
    "becomes a directory",
    (list) => {
      unlinkSync(list);
      mkdirSync(list);
    },
  ],
  ["is deleted, with missing: keep", (list) => unlinkSync(list)],
] as [string, (list: string) => void][])
  test(`G7: live tables stay as they were when a large list ${what}`, async (t) => {
    const list = join(mkdtempSync(join(tmpdir(), "list-")), "list");
    t.after(() => rmSync(dirname(list), { recursive: true }));
    writeFileSync(list, manyAddresses);
    const { live, changes } = await tablesBed(t, { deny: `ALL: ${list}\n`, missing: "keep" });
    spoil(list);
    while (changes.length === 1) {
      live.fresh();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.deepEqual([changes.at(-1)?.kept?.code, changes.at(-1)?.kept?.file], ["table-kept", list]);
    assert.equal(await verdictOf(live, "10.0.4.2"), "refuse");
    rmSync(list, { recursive: true, force: true });
    writeFileSync(list, "192.0.2.7\n");
    while (live.current.number === 1) {
      live.fresh();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.deepEqual(
      [await verdictOf(live, "10.0.4.2"), await verdictOf(live, "192.0.2.7")],
      ["allow", "refuse"],
    );
    assert.deepEqual(live.kept, []);
  });

test("A2: live tables stay as they were when a line is longer than 1 MiB, and say where", async (t) => {
  const { deny, live, changes } = await tablesBed(t);
  const long = `ALL: ${"x".repeat(1 << 20)}\n`;
  const loads = async (count: number): Promise<void> => {
    const deadline = Date.now() + 20_000;
    while (changes.length < count && Date.now() < deadline) {
      live.fresh();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  writeFileSync(`${deny}.new`, `ALL: 192.0.2.66\n${long}`);
  renameSync(`${deny}.new`, deny);
  await loads(2);
  const { kept, generation } = changes.at(-1) ?? {};
  assert.deepEqual(
    [kept?.file, kept?.line, kept?.column, kept?.code, generation?.number],
    [deny, 2, (1 << 20) + 1, "table-kept", 1],
  );
  assert.equal(await verdictOf(live, "192.0.2.66"), "refuse");
  assert.equal(await verdictOf(live, "192.0.2.7"), "allow", "what libwrap would refuse at the line");
  writeFileSync(`${deny}.new`, "ALL: 192.0.2.7\n");
  renameSync(`${deny}.new`, deny);
  await loads(3);
  assert.equal(await verdictOf(live, "192.0.2.7"), "refuse", "a good one counts again");
});

test("A2: a line longer than 1 MiB at the start refuses whom hosts.deny meets there", async (t) => {
  const { deny, live, changes } = await tablesBed(t, {
    deny: `ALL: 192.0.2.66\nALL: ${"x".repeat(1 << 20)}\n`,
  });
  assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
  appendFileSync(deny, "ALL: 192.0.2.8\n");
  const deadline = Date.now() + 20_000;
  while (changes.length === 1 && Date.now() < deadline) {
    live.fresh();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(changes.at(-1)?.kept, undefined, "there is nothing better to keep");
  assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
});

test("G7: large live tables stay as they were when the file becomes a directory", async (t) => {
  const { deny, live, changes } = await tablesBed(t, { deny: "ALL: 192.0.2.66\n".repeat(40_000) });
  unlinkSync(deny);
  mkdirSync(deny);
  const deadline = Date.now() + 10_000;
  while (changes.length === 1 && Date.now() < deadline) {
    live.fresh();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(changes.at(-1)?.kept?.code, "table-kept");
  assert.equal(await verdictOf(live, "192.0.2.66"), "refuse");
});
