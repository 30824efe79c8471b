/** A daemon that must have tables does not start without. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { requireTables } from "../../src/cli/open.ts";
import { schema } from "../../src/config/schema.ts";
import { scratchFolder } from "../support/scratch.ts";

const required = { TCPWRAPD_TABLES: "required" };

test("tables are required where the environment says so, and one of the two is enough", (t) => {
  const folder = scratchFolder(t);
  writeFileSync(join(folder, "hosts.deny"), "");
  const rows: [
    deny: string,
    inline: string[],
    environment: Record<string, string>,
    isOpen: boolean,
    starts: boolean,
  ][] = [
    ["none", [], required, false, false],
    ["none", [], required, true, true],
    ["none", [], {}, false, true],
    ["hosts.deny", [], required, false, true],
    ["none", ["TCPWRAPD_ALLOW"], required, false, true],
  ];
  for (const [deny, inline, environment, isOpen, starts] of rows) {
    const allow = inline[0] ?? join(folder, "hosts.allow");
    const { access } = schema.parse({ access: { deny: join(folder, deny) } });
    const start = (): void =>
      requireTables({ ...access, allow }, new Map(inline.map((name) => [name, ""])), environment, isOpen);
    if (starts) start();
    else
      assert.throws(
        start,
        /hosts[.]allow: error no-tables: there is no table \(nor .*none\).*; mount .* --open/,
      );
  }
});
