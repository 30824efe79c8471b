/** Loading in a thread gives what loading here gives. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { decide } from "../../src/access/decide.ts";
import { isSameState, look, readWhole } from "../../src/config/files.ts";
import { loadTables } from "../../src/config/load.ts";
import { loadTablesInBackground } from "../../src/config/load-background.ts";

const folder = mkdtempSync(join(tmpdir(), "load-"));
after(() => {
  rmSync(folder, { recursive: true });
});
const allow = join(folder, "hosts.allow");
const deny = join(folder, "hosts.deny");
const list = join(folder, "list");

test("a load in the background decides, complains and depends on files as one in the foreground", async () => {
  writeFileSync(allow, `sshd: 192.0.2. EXCEPT ${list}\nno colon\n`);
  writeFileSync(deny, "ALL: ALL: severity info\n");
  writeFileSync(list, "192.0.2.7\n[fe80::1%nosuch]\n");
  const options = { allow, deny, noMatch: "allow", interfaces: new Set(["lo"]) } as const;
  const here = loadTables({ ...options, read: (path, maxBytes) => readWhole(path, maxBytes).source });
  const there = await loadTablesInBackground(options);
  assert.deepEqual(there.paths, here.paths);
  assert.deepEqual(there.diagnostics, here.diagnostics);
  assert.deepEqual([there.allowRules, there.denyRules], [1, 1]);
  assert.deepEqual([...there.readings.keys()].sort(), [...here.paths].sort());
  assert.deepEqual(there.readings.get(list), readWhole(list, 1000));
  for (const last of [1, 7]) {
    const address = `192.0.2.${last}`;
    const request = { daemon: "sshd", client: { address, name: "unknown" }, server: { address: "10.0.0.1" } };
    assert.deepEqual(decide(there.tables, request), decide(here.tables, request));
  }
});

test("a table given as text is not looked for on disk", async () => {
  const inline = new Map([["given", "ALL: ALL\n"]]);
  const loaded = await loadTablesInBackground({
    allow: join(folder, "none"),
    deny: "given",
    noMatch: "allow",
    inline,
  });
  assert.deepEqual([...loaded.readings.keys()], [join(folder, "none")]);
  assert.equal(loaded.denyRules, 1);
});

test("G4: a file that grows while it is read is read as it was, with whole lines, and its next look is another", async (t) => {
  const line = "ALL: 192.0.2.7\n";
  writeFileSync(list, line.repeat(100_000));
  const code = `const { appendFileSync } = require("node:fs"), { workerData } = require("node:worker_threads");
    for (;;) appendFileSync(workerData.list, workerData.line);`;
  const writer = new Worker(code, { eval: true, workerData: { list, line } });
  t.after(() => writer.terminate());
  await once(writer, "online");
  let grown = 0;
  // One look in a thousand falls between the new time of the file and its new size.
  for (let looks = 0; looks < 1000 || grown < 20; looks++) {
    const { source, state } = readWhole(list, 2 ** 30);
    assert.equal(source.kind, "text");
    assert.ok(source.kind === "text" && source.bytes.length % line.length === 0);
    if (!isSameState(state, look(list))) grown += 1;
  }
});

test("an abort ends the thread and rejects with its reason", async () => {
  const reason = new Error("enough");
  const controller = new AbortController();
  const load = loadTablesInBackground({ allow, deny, noMatch: "allow", signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(load, reason);
  await assert.rejects(
    loadTablesInBackground({ allow, deny, noMatch: "allow", signal: controller.signal }),
    reason,
  );
});
