import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { SyslogMessage } from "../../src/platform/syslog.ts";
import {
  FACILITIES,
  formatRfc3164,
  formatRfc5424,
  priority,
  shorten,
  SHORTENED,
  SYSLOG_LEVELS,
} from "../../src/platform/syslog.ts";

const message: SyslogMessage = {
  facility: "daemon",
  level: "info",
  timeMs: new Date(2026, 10, 2, 3, 4, 5, 6).getTime(),
  tag: "sshd",
  pid: 77,
  messageId: "accept",
  data: [],
  text: "connect from 192.0.2.1 (192.0.2.1)",
};

const priorities: [facility: string, level: string, pri: number, because: string][] = [
  ["kern", "emerg", 0, "the smallest"],
  ["daemon", "info", 30, "tcpd's accept"],
  ["daemon", "warning", 28, "tcpd's refusal"],
  ["auth", "alert", 33, "RFC 5424 table 1 and 2"],
  ["authpriv", "crit", 82, "not in libwrap"],
  ["ftp", "notice", 93, "not in libwrap"],
  ["syslog", "err", 43, "not in libwrap"],
  ["mail", "warn", 20, "old name of warning"],
  ["mail", "error", 19, "old name of err"],
  ["user", "panic", 8, "old name of emerg"],
  ["local7", "debug", 191, "the largest"],
  ["nonsense", "nonsense", 29, "an unknown name loses no message: daemon.notice"],
];
for (const [facility, level, pri, because] of priorities) {
  test(`priority of ${facility}.${level} is ${pri}: ${because}`, () =>
    assert.equal(priority(facility, level), pri));
}

test("K1: every facility and level pair has its own code in front, in both forms", () => {
  for (const [facility, high] of Object.entries(FACILITIES)) {
    for (const [level, low] of Object.entries(SYSLOG_LEVELS)) {
      const pri = `<${high * 8 + low}>`;
      assert.ok(formatRfc3164({ ...message, facility, level }, 1024).startsWith(`${pri}Nov `));
      assert.ok(formatRfc5424({ ...message, facility, level }, 1024).startsWith(`${pri}1 2026-`));
    }
  }
});

test("RFC 3164 on a local socket has no host, and a day below ten is padded by a space", () => {
  assert.equal(
    formatRfc3164(message, 1024),
    "<30>Nov  2 03:04:05 sshd[77]: connect from 192.0.2.1 (192.0.2.1)",
  );
});

test("RFC 3164 to another machine names the host", () => {
  assert.equal(
    formatRfc3164({ ...message, hostname: "gate" }, 1024),
    "<30>Nov  2 03:04:05 gate sshd[77]: connect from 192.0.2.1 (192.0.2.1)",
  );
});

test("RFC 5424 has time in UTC, host or nil, tag, pid, message id and escaped structured data", () => {
  const utc = new Date(message.timeMs).toISOString();
  assert.equal(
    formatRfc5424(message, 1024),
    `<30>1 ${utc} - sshd 77 accept - connect from 192.0.2.1 (192.0.2.1)`,
  );
  assert.equal(
    formatRfc5424({ ...message, hostname: "gate", data: [["rule", 'a"b]c\\d']] }, 1024),
    `<30>1 ${utc} gate sshd 77 accept [tcpwrapd@32473 rule="a\\"b\\]c\\\\d"] connect from 192.0.2.1 (192.0.2.1)`,
  );
});

test("structured data that leaves no room for the text is left out whole", () => {
  const line = formatRfc5424({ ...message, data: [["long", "x".repeat(600)]] }, 1024);
  assert.match(line, / accept - connect from /);
});

const cuts: [line: string, max: number, keep: number, cut: string, because: string][] = [
  ["head: one two three", 100, 6, "head: one two three", "it fits"],
  [
    "head: one two three four five",
    28,
    6,
    `head: one two${SHORTENED}`,
    "cut at the last space that leaves room for the mark",
  ],
  [
    "head: onetwothreefourfivesixseven",
    24,
    6,
    `head:${SHORTENED}`,
    "a field that does not fit is left out whole",
  ],
];
for (const [line, max, keep, cut, because] of cuts) {
  test(`K5: "${line}" in ${max} bytes: ${because}`, () => assert.equal(shorten(line, max, keep), cut));
}

test("K5: a shortened line is never longer than asked, is marked, and begins as the line does", () => {
  const ascii = fc.string({ unit: "grapheme-ascii", minLength: 0, maxLength: 200 });
  fc.assert(
    fc.property(
      ascii,
      fc.integer({ min: SHORTENED.length, max: 120 }),
      fc.integer({ min: 0, max: 60 }),
      (line, max, keep) => {
        const cut = shorten(line, max, keep);
        if (line.length <= max) return cut === line;
        return (
          cut.length <= max && cut.endsWith(SHORTENED) && line.startsWith(cut.slice(0, -SHORTENED.length))
        );
      },
    ),
    { numRuns: 5000, seed: 1 },
  );
});
