import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { journalForm, jsonForm, prettyForm, syslogForm, textForm } from "../../src/record/forms.ts";
import type { AcceptFields, Level, LogRecord } from "../../src/record/records.ts";

const timeMs = Date.UTC(2026, 10, 22, 9, 8, 7, 6);
const fields: AcceptFields = {
  event: "accept",
  service: "ssh",
  daemon: "sshd",
  id: "1m81",
  client: { address: "192.0.2.1", port: 4000, name: "host.example", user: "bob" },
  server: { address: "192.0.2.9", port: 22 },
  rule: { file: "/etc/hosts.allow", line: 3 },
  backend: "127.0.0.1:2222",
  decisionMs: 0.5,
};
const accept: LogRecord = { timeMs, level: "info", tag: "sshd", fields };
const alert: LogRecord = { ...accept, severity: { facility: "auth", level: "alert" } };
const plain: LogRecord = { ...accept, severity: { level: "notice" } };

test("text: time, tag with pid, tcpd's sentence", () => {
  assert.equal(
    textForm(77)(accept),
    "2026-11-22T09:08:07.006Z sshd[77]: connect from bob@host.example (192.0.2.1)\n",
  );
});

test("text for the journal: the level in front as sd-daemon(3) has it, and no time", () => {
  assert.equal(journalForm(77)(accept), "<6>sshd[77]: connect from bob@host.example (192.0.2.1)\n");
  assert.equal(
    journalForm(77)({ ...accept, level: "warn" }),
    "<4>sshd[77]: connect from bob@host.example (192.0.2.1)\n",
  );
  assert.equal(journalForm(77)(alert), "<1>sshd[77]: connect from bob@host.example (192.0.2.1)\n");
});

test("JSON: one object a line, level as a word, time as ISO 8601, then the fields", () => {
  const line = jsonForm()(accept) ?? "";
  assert.ok(line.endsWith("}\n"));
  assert.deepEqual(JSON.parse(line), { level: "info", time: "2026-11-22T09:08:07.006Z", ...fields });
});

const levels: [level: Level, severity: LogRecord["severity"], word: string, named: string | undefined][] = [
  ["warn", undefined, "warn", undefined],
  ["error", undefined, "error", undefined],
  ["info", { facility: "auth", level: "alert" }, "fatal", "auth.alert"],
  ["warn", { facility: "local3", level: "info" }, "info", "local3.info"],
  ["info", { level: "warning" }, "warn", "warning"],
  ["info", { level: "panic" }, "fatal", "panic"],
  ["info", { level: "error" }, "error", "error"],
  ["info", { level: "debug" }, "debug", "debug"],
];
for (const [level, severity, word, named] of levels) {
  test(`JSON: level ${level} with severity ${JSON.stringify(severity)} is "${word}"`, () => {
    const parsed = JSON.parse(
      jsonForm()({ ...accept, level, ...(severity && { severity }) }) ?? "",
    ) as Record<string, unknown>;
    assert.deepEqual([parsed["level"], parsed["severity"]], [word, named]);
  });
}

test("JSON leaves out what another record has in it already", () => {
  assert.equal(jsonForm()({ ...accept, sentencesOnly: true }), undefined);
  assert.notEqual(textForm(1)({ ...accept, sentencesOnly: true }), undefined);
});

test("K6: JSON is strict and one line, whatever comes from outside, and reads back as it was", () => {
  const form = jsonForm();
  const outside = fc.oneof(
    fc.string({ unit: "binary", maxLength: 100 }),
    fc.constantFrom("\u2028", "\u2029", "\u0085", "\u007f", "\u001b[2J", '"}\n{"'),
  );
  fc.assert(
    fc.property(outside, outside, (name, user) => {
      const line = form({ ...accept, fields: { ...fields, client: { address: name, name, user } } }) ?? "";
      assert.match(line, /^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*\n$/u);
      const parsed = JSON.parse(line) as AcceptFields;
      assert.deepEqual(parsed.client, {
        address: name,
        name: name,
        user: user,
      });
    }),
    { numRuns: 3000, seed: 1 },
  );
});

test("pretty: one line for people, without escape codes where it is not a terminal", () => {
  const line = prettyForm({ isColoured: false })(accept) ?? "";
  assert.match(line, /INFO.*connect from bob@host\.example \(192\.0\.2\.1\).*"id":"1m81".*\n$/);
  assert.doesNotMatch(line, /\u001b/u);
  assert.equal(line.split("\n").length, 2);
  assert.match(prettyForm({ isColoured: true })(accept) ?? "", /\u001b\[/u);
});

test("pretty: hostile text does not reach the terminal", () => {
  const line =
    prettyForm({ isColoured: false })({
      ...accept,
      fields: { ...fields, client: { address: "a", name: "\u001b[2J\u009b\n", user: "\u0007" } },
    }) ?? "";
  assert.match(line, /^[^\u0000-\u001f\u007f-\u009f]*\n$/u);
});

const own = { facility: "daemon", pid: 77, maxBytes: 1024 };
test("syslog: facility of the sink and level of the event, unless the rule's severity says otherwise", () => {
  const form = syslogForm({ ...own, format: "rfc3164" });
  assert.match(
    form(accept) ?? "",
    /^<30>Nov 22 .{8} sshd\[77\]: connect from bob@host\.example \(192\.0\.2\.1\)$/,
  );
  assert.match(form({ ...accept, level: "warn" }) ?? "", /^<28>/);
  assert.match(form({ ...accept, level: "error" }) ?? "", /^<27>/);
  assert.match(form(alert) ?? "", /^<33>/);
  assert.match(form(plain) ?? "", /^<29>/);
});

test("syslog RFC 5424: structured data says id, service, client, rule and backend", () => {
  const form = syslogForm({ ...own, format: "rfc5424", hostname: "gate" });
  assert.equal(
    form(accept),
    '<30>1 2026-11-22T09:08:07.006Z gate sshd 77 accept [tcpwrapd@32473 id="1m81" service="ssh" client="192.0.2.1" ' +
      'rule="/etc/hosts.allow:3" backend="127.0.0.1:2222"] connect from bob@host.example (192.0.2.1)',
  );
});

test("K5: a syslog message is never longer than asked", () => {
  const long = "word ".repeat(500);
  for (const format of ["rfc3164", "rfc5424"] as const) {
    const line =
      syslogForm({ ...own, format })({ ...accept, fields: { event: "stopped", detail: long } }) ?? "";
    assert.ok(line.length <= 1024 && line.endsWith("word [shortened]"), line);
  }
});
