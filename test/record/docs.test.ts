/** docs/records.md says what the code writes: every field, event, reason, cause, level and facility, and no other. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import type { Diagnostic } from "../../src/access/types.ts";
import { FACILITIES, SYSLOG_LEVELS } from "../../src/platform/syslog.ts";
import type { ConnectionFields, Fields, Side } from "../../src/record/records.ts";
import { END_CAUSES, LEVELS, REFUSE_REASONS } from "../../src/record/records.ts";
import { sentence } from "../../src/record/words.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/records.md"), "utf8");

/** The text of one section, up to the next heading of any level. */
function section(heading: string): string {
  const start = page
    .split("\n")
    .findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, "").startsWith(heading));
  assert.ok(start >= 0, `a section "${heading}"`);
  const rest = page.split("\n").slice(start + 1);
  const end = rest.findIndex((line) => /^#+ /.test(line));
  return rest.slice(0, end < 0 ? undefined : end).join("\n");
}

/** The first column of the table whose heading row begins with this word. */
function column(text: string, head: string): string[] {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => line.replace(/ +/g, " ").startsWith(`| ${head} |`));
  assert.ok(start >= 0, `a table of ${head}s`);
  const rows = lines.slice(start + 2);
  const end = rows.findIndex((line) => !line.startsWith("|"));
  return rows.slice(0, end < 0 ? undefined : end).map((row) => /^\| `([^`]+)`/.exec(row)?.[1] ?? row);
}

/** The names of all fields, those of objects inside with a dot; lists are one field. */
function names(value: object, prefix = ""): string[] {
  return Object.entries(value).flatMap(([name, inner]: [string, unknown]) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? names(inner, `${prefix}${name}.`)
      : [prefix + name],
  );
}

const side: Required<Side> = { address: "", port: 0, name: "", nameStatus: "ok" };
const connection: Required<ConnectionFields> = {
  service: "",
  daemon: "",
  id: "",
  client: { ...side, user: "", forwardNames: [] },
  server: side,
  transport: "udp",
  proxy: { address: "", port: 0, tlvs: [] },
};
const rule = { file: "", line: 0 };
const diagnostics: Diagnostic[] = [];

/** One record of each event with every field that its type knows: the compiler sees to it that none is missing. */
const fullest: { [Event in Fields["event"]]: Required<Fields & { event: Event }> } = {
  accept: { event: "accept", ...connection, rule, backend: "", decisionMs: 0, generation: 0 },
  refuse: { event: "refuse", ...connection, rule, reason: "rule", detail: "", decisionMs: 0, generation: 0 },
  twist: { event: "twist", ...connection, rule, command: "", decisionMs: 0, generation: 0 },
  end: { event: "end", ...connection, upBytes: 0, downBytes: 0, durationMs: 0, cause: "drain", detail: "" },
  tables: {
    event: "tables",
    generation: 0,
    allow: { rules: 0 },
    deny: { rules: 0 },
    diagnostics,
    diagnosticsTotal: 0,
  },
  ready: { event: "ready", detail: "" },
  draining: { event: "draining", detail: "" },
  stopped: { event: "stopped", detail: "" },
  diagnostic: {
    event: "diagnostic",
    service: "",
    id: "",
    code: "",
    message: "",
    file: "",
    line: 0,
    column: 0,
    hint: "",
  },
  lost: { event: "lost", lines: 0 },
  suppressed: {
    event: "suppressed",
    service: "",
    daemon: "",
    client: { address: "" },
    refusals: 0,
    periodMs: 0,
  },
};

const SECTION_OF: Partial<Record<Fields["event"], string>> = { draining: "`ready`", stopped: "`ready`" };

for (const [event, fields] of Object.entries(fullest)) {
  test(`docs/records.md lists the fields of "${event}" as they are written`, () => {
    const isAboutConnection = "id" in fields && "server" in fields;
    const documented = [
      "event",
      ...(isAboutConnection ? column(section("Records about a connection"), "field") : []),
      ...column(section(SECTION_OF[fields.event] ?? `\`${event}\``), "field"),
    ];
    assert.deepEqual(documented.toSorted(), names(fields).toSorted());
    assert.equal(typeof sentence(fields), "string");
  });
}

test("docs/records.md lists the reasons, causes, levels and facilities that there are", () => {
  assert.deepEqual(column(section("`refuse`"), "reason"), REFUSE_REASONS);
  assert.deepEqual(column(section("`end`"), "cause"), END_CAUSES);
  assert.deepEqual(column(section("Syslog"), "level of the record"), LEVELS);
  const list = (head: string): string[] =>
    [...(section("Syslog").split(`\n${head}: `)[1]?.split("\n\n")[0] ?? "").matchAll(/`(\w+)`/g)].map(
      (match) => match[1] ?? "",
    );
  assert.deepEqual(list("Facilities"), Object.keys(FACILITIES));
  assert.deepEqual(list("Levels"), Object.keys(SYSLOG_LEVELS));
});
