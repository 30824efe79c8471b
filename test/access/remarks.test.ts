/** Every word of the checker's remarks: whole tables in `remarks.allow` and `remarks.deny`, and what is said of them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { loadTables } from "../../src/config/load.ts";
import type { Source } from "../../src/access/types.ts";
import { nearest } from "../../src/config/nearest.ts";

const folder = "test/access/";

test("the remarks on two long tables and a file are those that are written down", () => {
  const read = (path: string): Source =>
    path.startsWith("remarks.")
      ? { kind: "text", bytes: readFileSync(folder + path) }
      : path === "/etc/netgroup"
        ? { kind: "text", bytes: Buffer.from("known (a.test,,)\n") }
        : { kind: "missing" };
  const { diagnostics } = loadTables({
    allow: "remarks.allow",
    deny: "remarks.deny",
    noMatch: "allow",
    read,
    interfaces: new Set(["lo"]),
    criticism: {
      noMatch: "allow",
      daemons: { names: ["sshd"], ports: [22], nearest: (name) => nearest(name, ["sshd"]) },
    },
  });
  const said = diagnostics.map(({ file, line, column, severity, code, message, hint }) =>
    [
      `${file}:${line}:${column ?? "-"} ${severity} ${code}`,
      `  ${message}`,
      ...(hint ? [`  ${hint}`] : []),
    ].join("\n"),
  );
  assert.deepEqual(
    said,
    readFileSync(`${folder}remarks.txt`, "utf8")
      .trimEnd()
      .split(/\n(?=\S)/),
  );
});
