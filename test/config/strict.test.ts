/** `access.strict`: tables with an error, or with a dead or dangerous rule, do not come into force. */
import assert from "node:assert/strict";
import { appendFileSync, chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { decide } from "../../src/access/decide.ts";
import { LiveTables, type TablesChange } from "../../src/config/live.ts";
import { scratchFolder } from "../support/scratch.ts";

async function bed(t: TestContext, deny: string, isStrict = true) {
  const folder = scratchFolder(t);
  const paths = { allow: join(folder, "hosts.allow"), deny: join(folder, "hosts.deny") };
  writeFileSync(paths.allow, "sshd: 192.0.2.7\n");
  writeFileSync(paths.deny, deny);
  const changes: TablesChange[] = [];
  const live = await LiveTables.open({
    ...paths,
    noMatch: "allow",
    missing: "empty",
    ...(isStrict && { strict: {} }),
    onChange: (change) => changes.push(change),
  });
  t.after(() => live.close());
  const verdictOf = async (address: string): Promise<string> => {
    const { tables } = await live.settled(AbortSignal.timeout(10_000));
    return decide(tables, { daemon: "sshd", client: { address }, server: { address: "unknown" } }).kind;
  };
  return { ...paths, live, changes, verdictOf };
}

const bad: [what: string, line: string, code: string][] = [
  ["an error", "ALL: 192.0.2.5 : dney\n", "unknown-option"],
  ["a dead pattern", "ALL: 192.0.2.10/24\n", "host-bits-set"],
  ["a line that is no rule", "sshd ALL\n", "missing-colon"],
  ["a dead rule", "sshd: 192.0.2.7\n", "rule-never-matches"],
  ["a list that is not there", "sshd: /nonexistent/list\n", "list-missing"],
];
for (const [what, line, code] of bad) {
  test(`strict: an edit with ${what} does not come into force, and says why; mended, it does`, async (t) => {
    const { live, deny, changes, verdictOf } = await bed(t, "ALL: 192.0.2.8\n");
    appendFileSync(deny, `ALL: 192.0.2.9\n${line}`);
    assert.equal(await verdictOf("192.0.2.9"), "allow");
    assert.equal(await verdictOf("192.0.2.8"), "refuse");
    const { kept, refused = [], generation } = changes.at(-1) ?? {};
    assert.deepEqual([kept?.code, kept?.severity, generation?.number], ["table-refused", "error", 1]);
    assert.equal(kept?.file, deny);
    assert.equal(kept?.message, `not taken, because of access.strict: ${code}`);
    assert.deepEqual([...new Set(refused.map((each) => each.code))], [code]);
    writeFileSync(deny, "ALL: 192.0.2.8\nALL: 192.0.2.9\n");
    for (let waits = 0; (await verdictOf("192.0.2.9")) !== "refuse"; waits++) assert.ok(waits < 1000);
    assert.equal(live.current.number, 2);
    assert.equal(changes.filter(({ kept }) => kept !== undefined).length, 1);
  });
}

test("strict: remarks that are neither dead nor dangerous keep nothing from coming into force", async (t) => {
  const { deny, verdictOf, changes } = await bed(t, "ALL: 192.0.2.8\n");
  appendFileSync(deny, "vsftpd: bob@192.0.2.9\nALL: 192.0.2.9");
  for (let waits = 0; (await verdictOf("192.0.2.9")) !== "refuse"; waits++) assert.ok(waits < 1000);
  assert.deepEqual(
    changes.map(({ kept }) => kept),
    [undefined, undefined],
  );
});

test("strict: without tables from before, everybody is refused until they are mended", async (t) => {
  const { deny, changes, verdictOf } = await bed(t, "ALL: 192.0.2.10/24\n");
  assert.equal(await verdictOf("192.0.2.7"), "refuse");
  assert.equal(changes.at(-1)?.kept?.hint, "there are no tables yet, so everybody is refused");
  writeFileSync(deny, "ALL: 192.0.2.8\n");
  for (let waits = 0; (await verdictOf("192.0.2.7")) !== "allow"; waits++) assert.ok(waits < 1000);
});

test("strict: so it is with large tables, which a thread loads", async (t) => {
  const many = Array.from({ length: 30_000 }, (_, index) => `sshd: 10.${index >> 8}.${index & 255}.1\n`).join(
    "",
  );
  const { live, deny, changes } = await bed(t, many);
  assert.equal(live.current.denyRules, 30_000);
  appendFileSync(deny, "sshd: 10.0.0.1/33\n");
  live.fresh();
  const until = Date.now() + 20_000;
  while (changes.length < 2 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(changes[1]?.kept?.code, "table-refused");
  assert.equal(live.current.number, 1);
});

test("L2: strict: an edit of a table that others can write does not come into force, until that is mended", async (t) => {
  const { deny, live, changes, verdictOf } = await bed(t, "ALL: 192.0.2.8\n");
  chmodSync(deny, 0o666);
  assert.equal(await verdictOf("192.0.2.8"), "refuse");
  appendFileSync(deny, "ALL: 192.0.2.9\n");
  assert.equal(await verdictOf("192.0.2.9"), "allow");
  const { kept, refused = [] } = changes.at(-1) ?? {};
  assert.equal(kept?.message, "not taken, because of access.strict: world-writable");
  assert.deepEqual(
    refused.map(({ code, hint }) => [code, hint]),
    [["world-writable", `chmod o-w ${deny}`]],
  );
  assert.equal(live.current.number, 1);
  chmodSync(deny, 0o644);
  const until = Date.now() + 20_000;
  while ((await verdictOf("192.0.2.9")) === "allow" && Date.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(await verdictOf("192.0.2.9"), "refuse");
});

test("without strict the same tables are taken as they are", async (t) => {
  const { live, changes } = await bed(t, "ALL: 192.0.2.10/24\nsshd: 192.0.2.7\n", false);
  assert.deepEqual([live.current.denyRules, changes.length, changes[0]?.kept], [2, 1, undefined]);
});
