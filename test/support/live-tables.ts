/** Live tables over two files of a test's own, without a daemon. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { decide } from "../../src/access/decide.ts";
import { LiveTables, type TablesChange } from "../../src/config/live.ts";

export interface TablesBed {
  readonly allow: string;
  readonly deny: string;
  readonly live: LiveTables;
  /** The first generation, and whatever happened since. */
  readonly changes: TablesChange[];
}

/** Opens live tables; they are closed with the test. */
export async function tablesBed(
  t: TestContext,
  {
    missing = "empty",
    allow = "ftpd: ALL\n",
    deny = "ALL: 192.0.2.66\n",
  }: { missing?: "empty" | "keep"; allow?: string; deny?: string } = {},
): Promise<TablesBed> {
  const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-live-"));
  const paths = { allow: join(folder, "hosts.allow"), deny: join(folder, "hosts.deny") };
  writeFileSync(paths.allow, allow);
  writeFileSync(paths.deny, deny);
  const changes: TablesChange[] = [];
  const live = await LiveTables.open({
    ...paths,
    noMatch: "allow",
    missing,
    onChange: (change) => changes.push(change),
  });
  t.after(() => {
    live.close();
    rmSync(folder, { recursive: true });
  });
  return { ...paths, live, changes };
}

/** What the next connection to sshd would hear. */
export async function verdictOf(live: LiveTables, address: string): Promise<string> {
  const generation = await live.settled(AbortSignal.timeout(10_000));
  const step = decide(generation.tables, {
    daemon: "sshd",
    client: { address },
    server: { address: "unknown" },
  });
  return step.kind;
}
