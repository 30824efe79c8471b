import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { deserialize, serialize } from "node:v8";
import { decide } from "../../src/access/decide.ts";
import type { Tables } from "../../src/access/tables.ts";
import { type Held, LiveTables } from "../../src/config/live.ts";
import { isSameSnapshot, isSnapshot, restore, type Snapshot, snapshotOf } from "../../src/config/snapshot.ts";
import { tablesBed, verdictOf } from "../support/live-tables.ts";

function verdict(tables: Tables, address: string): string {
  return decide(tables, { daemon: "sshd", client: { address }, server: { address: "unknown" } }).kind;
}

/** What another process gets of it. */
function sent(snapshot: Snapshot): Snapshot {
  return deserialize(serialize(snapshot)) as Snapshot;
}

for (const [what, filler] of [
  ["small", ""],
  ["large", "# a comment of some length that fills the table\n".repeat(20_000)],
] as const) {
  test(`a snapshot of ${what} tables makes the same tables in another process, whatever has become of the files`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-snapshot-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const list = join(folder, "list");
    writeFileSync(list, "192.0.2.66\n");
    const { live, deny } = await tablesBed(t, { deny: `ALL: ${list}\n${filler}` });
    const snapshot = sent(snapshotOf(live.current));
    assert.ok(isSnapshot(snapshot));
    writeFileSync(deny, "");
    writeFileSync(list, "");
    const { tables, denyRules } = await restore(snapshot);
    assert.equal(denyRules, 1);
    assert.equal(verdict(tables, "192.0.2.66"), "refuse");
    assert.equal(verdict(tables, "192.0.2.67"), "allow");
    assert.ok(isSameSnapshot(snapshot, snapshotOf({ tables, sources: snapshot.sources })));
  });
}

test("a snapshot that lacks a table lets nobody in", async (t) => {
  const { live } = await tablesBed(t);
  const { tables } = await restore({ ...snapshotOf(live.current), sources: new Map() });
  assert.equal(verdict(tables, "192.0.2.1"), "refuse");
});

const table = { allow: "a", deny: "d", noMatch: "allow", sources: new Map() };
const noSnapshots: [what: string, said: unknown][] = [
  ["nothing", undefined],
  ["a number", 7],
  ["no names", { ...table, allow: 1 }],
  ["no word for no match", { ...table, noMatch: "maybe" }],
  ["no map", { ...table, sources: {} }],
  ["a map of numbers", { ...table, sources: new Map([["a", 7]]) }],
  ["text that is none", { ...table, sources: new Map([["a", { kind: "text", bytes: "ALL: ALL" }]]) }],
  ["a kind that is none", { ...table, sources: new Map([["a", { kind: "fifo" }]]) }],
];
for (const [what, said] of noSnapshots)
  test(`${what} is no snapshot`, () => {
    assert.equal(isSnapshot(said), false);
    assert.ok(isSnapshot(table));
  });

/** Opens the files of a bed once more, as a worker does that comes after another one. */
async function successor(
  t: TestContext,
  paths: { allow: string; deny: string },
  held: Held,
): Promise<LiveTables> {
  const { allow, deny } = paths;
  const live = await LiveTables.open(
    { allow, deny, noMatch: "allow", missing: "empty", firstNumber: 7, onChange: () => undefined },
    held,
  );
  t.after(() => live.close());
  return live;
}

test("G14: tables that were held are held by whoever comes after, for as long as the files say what they said then", async (t) => {
  const bed = await tablesBed(t, { deny: "ALL: 192.0.2.66\n" });
  const { live, deny } = bed;
  const before = live.current;
  appendFileSync(deny, "ALL: ALL\n");
  assert.equal(await verdictOf(live, "192.0.2.7"), "refuse");
  live.hold(before);
  assert.equal(await verdictOf(live, "192.0.2.7"), "allow");
  const since = live.heldSince;
  assert.ok(since !== undefined);
  const held: Held = { tables: sent(snapshotOf(live.current)), since };

  const next = await successor(t, bed, held);
  assert.equal(next.current.number, 7);
  assert.equal(await verdictOf(next, "192.0.2.7"), "allow");
  assert.equal(await verdictOf(next, "192.0.2.66"), "refuse");
  assert.equal(next.heldSince, since);

  writeFileSync(deny, "ALL: 192.0.2.7\n");
  assert.equal(await verdictOf(next, "192.0.2.7"), "refuse", "an edit counts");
  assert.equal(await verdictOf(next, "192.0.2.66"), "allow");
  assert.equal(next.heldSince, undefined);

  const last = await successor(t, bed, held);
  assert.equal(await verdictOf(last, "192.0.2.66"), "allow", "the edit came while nobody was there");
  assert.equal(last.heldSince, undefined);
});
