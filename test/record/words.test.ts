import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { escapePhrase, escapeWord } from "../../src/record/escape.ts";
import type { ConnectionFields, Fields } from "../../src/record/records.ts";
import { sentence } from "../../src/record/words.ts";

function connection(client: ConnectionFields["client"]): ConnectionFields {
  return { service: "sshd", daemon: "sshd", id: "1", client, server: { address: "192.0.2.9", port: 22 } };
}

const good = connection({ address: "127.0.1.1", name: "good.example.test", user: "bob" });

// The words of tcpd 7.6.q for a client 127.0.1.1 named good.example.test with the ident user bob.
const rows: [fields: Fields, said: string, because: string][] = [
  [
    { event: "accept", ...connection({ address: "127.0.1.1" }), backend: "b", decisionMs: 1 },
    "connect from 127.0.1.1 (127.0.1.1)",
    "no rule needed the name",
  ],
  [
    {
      event: "accept",
      ...connection({ address: "127.0.1.1", name: "good.example.test" }),
      backend: "b",
      decisionMs: 1,
    },
    "connect from good.example.test (127.0.1.1)",
    "a name pattern was evaluated",
  ],
  [
    { event: "accept", ...good, backend: "b", decisionMs: 1 },
    "connect from bob@good.example.test (127.0.1.1)",
    "a user@name pattern",
  ],
  [
    { event: "refuse", ...connection({ address: "127.0.1.1", user: "bob" }), reason: "rule", decisionMs: 1 },
    "refused connect from bob@127.0.1.1 (127.0.1.1)",
    "a user@address pattern",
  ],
  [
    { event: "refuse", ...connection({ address: "::ffff:127.0.0.5" }), reason: "rule", decisionMs: 1 },
    "refused connect from ::ffff:127.0.0.5 (::ffff:127.0.0.5)",
    "a mapped address keeps its form",
  ],
  [
    {
      event: "refuse",
      ...connection({ address: "127.0.1.1", name: "unknown", user: "unknown" }),
      reason: "rule",
      decisionMs: 1,
    },
    "refused connect from 127.0.1.1 (127.0.1.1)",
    "an unknown name gives way to the address, an unknown user is not said",
  ],
  [
    {
      event: "refuse",
      ...connection({ address: "127.0.1.1", name: "paranoid" }),
      reason: "rule",
      decisionMs: 1,
    },
    "refused connect from 127.0.1.1 (127.0.1.1)",
    "a paranoid name gives way to the address",
  ],
  [
    {
      event: "refuse",
      ...connection({ address: "127.0.1.1", name: "Paranoid", user: "UNKNOWN" }),
      reason: "rule",
      decisionMs: 1,
    },
    "refused connect from 127.0.1.1 (127.0.1.1)",
    "in any case: an ident server may answer UNKNOWN",
  ],
  [
    {
      event: "refuse",
      ...connection({ address: "unknown" }),
      reason: "error",
      detail: "no peer",
      decisionMs: 1,
    },
    "refused connect from unknown (unknown): error, no peer",
    "no rule refused, so the reason follows tcpd's words",
  ],
  [
    { event: "refuse", ...connection({ address: "127.0.1.1" }), reason: "limit", decisionMs: 1 },
    "refused connect from 127.0.1.1 (127.0.1.1): limit",
    "a reason without detail",
  ],
  [
    { event: "twist", ...good, command: "/bin/echo hello", decisionMs: 1 },
    "twist bob@good.example.test to /bin/echo hello",
    "a command serves the client",
  ],
  [
    { event: "end", ...good, upBytes: 10, downBytes: 20, durationMs: 1500, cause: "client_closed" },
    "closed bob@good.example.test (127.0.1.1): client_closed, 10 bytes up, 20 bytes down, 1.500 s",
    "what it moved and how long it took",
  ],
  [
    { event: "end", ...good, upBytes: null, downBytes: null, durationMs: 0, cause: "handed_over" },
    "closed bob@good.example.test (127.0.1.1): handed_over, bytes unknown up, bytes unknown down, 0.000 s",
    "K8: nobody could count",
  ],
  [
    {
      event: "end",
      ...connection({ address: "127.0.1.1" }),
      upBytes: 0,
      downBytes: 0,
      durationMs: 2,
      cause: "internal",
      detail: 'spawn "/bin/x" ENOENT\n',
    },
    'closed 127.0.1.1 (127.0.1.1): internal, 0 bytes up, 0 bytes down, 0.002 s: spawn \\"/bin/x\\" ENOENT\\x0a',
    "whoever reads the words has to see what went wrong, too",
  ],
  [
    {
      event: "tables",
      generation: 3,
      allow: { rules: 12 },
      deny: { rules: 1 },
      diagnostics: [],
      diagnosticsTotal: 2,
    },
    "tables generation 3: 12 allow rules, 1 deny rules, 2 diagnostics",
    "what is in force",
  ],
  [{ event: "ready", detail: "sshd on 0.0.0.0:22" }, "ready: sshd on 0.0.0.0:22", "with detail"],
  [{ event: "stopped" }, "stopped", "without detail"],
  [
    {
      event: "diagnostic",
      code: "host-bits-set",
      message: '"10.1.2.3/8" has bits',
      file: "/etc/hosts.allow",
      line: 12,
      hint: 'write "10.0.0.0/8"',
    },
    '/etc/hosts.allow:12: host-bits-set: \\"10.1.2.3/8\\" has bits; write \\"10.0.0.0/8\\"',
    "place, code, message, hint",
  ],
  [
    { event: "diagnostic", code: "table-unreadable", message: "no", file: "/x", line: 0 },
    "/x: table-unreadable: no",
    "line 0 means the whole file",
  ],
  [{ event: "lost", lines: 1 }, "lost 1 line", "one"],
  [{ event: "lost", lines: 2 }, "lost 2 lines", "more than one"],
];
for (const [fields, said, because] of rows)
  test(`${said}: ${because}`, () => assert.equal(sentence(fields), said));

const hostile: [text: string, word: string, because: string][] = [
  ["x (192.0.2.66)", "x\\x20\\x28192.0.2.66\\x29", "F12: a user cannot pass for an address in brackets"],
  ["bob@evil.example", "bob\\x40evil.example", "a user cannot pass for user and host"],
  ["a\nb\r\0c", "a\\x0ab\\x0d\\x00c", "K6: control bytes"],
  ["\u001b[31m", "\\x1b[31m", "K6: a terminal's commands"],
  ["\"\\'`", "\\x22\\x5c\\x27\\x60", "K6: quotes and backslash"],
  ["\u2028é", "\\xe2\\x80\\xa8\\xc3\\xa9", "K6: all that is not ASCII, as its UTF-8"],
  ["\ud800", "\\xef\\xbf\\xbd", "half a character"],
  ["", "-", "an empty field is seen as one"],
  ["fe80::1%eth0", "fe80::1%eth0", "a zone is no harm"],
];
for (const [text, word, because] of hostile) {
  test(`the word ${JSON.stringify(text)} is written ${word}: ${because}`, () =>
    assert.equal(escapeWord(text), word));
}

test("K6: a phrase keeps its spaces and brackets, and escapes quotes, backslash, control bytes and what is not ASCII", () => {
  assert.equal(escapePhrase('/bin/echo "a\\b" (1)\n\u0085'), '/bin/echo \\"a\\\\b\\" (1)\\x0a\\xc2\\x85');
});

test("K6: whatever comes from outside, a sentence is one line of printable ASCII", () => {
  const outside = fc.string({ unit: "binary", maxLength: 400 });
  fc.assert(
    fc.property(outside, outside, outside, (name, user, text) => {
      const client = { address: name, name, user };
      const lines: Fields[] = [
        { event: "refuse", ...connection(client), reason: "error", detail: text, decisionMs: 0 },
        { event: "twist", ...connection(client), command: text, decisionMs: 0 },
        { event: "diagnostic", code: text, message: text, file: text, hint: text },
      ];
      return lines.every((fields) => /^[ -~]*$/.test(sentence(fields)));
    }),
    { numRuns: 3000, seed: 1 },
  );
});

test("F12: the address of the connection is the only one in brackets, whatever name and user say", () => {
  const outside = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.constantFrom("x (6.6.6.6)", "(6.6.6.6) (6.6.6.6)", "a\u0020(6.6.6.6)"),
  );
  fc.assert(
    fc.property(outside, outside, (name, user) => {
      const said = sentence({
        event: "refuse",
        ...connection({ address: "192.0.2.1", name, user }),
        reason: "rule",
        decisionMs: 0,
      });
      return /^refused connect from [^\s()]+ \(192\.0\.2\.1\)$/.test(said);
    }),
    { numRuns: 3000, seed: 1 },
  );
});

test("a text of any length is bounded in a line", () => {
  const long = "x".repeat(1_000_000);
  assert.ok(
    sentence({
      event: "refuse",
      ...connection({ address: "192.0.2.1", name: long, user: long }),
      reason: "error",
      detail: long,
      decisionMs: 0,
    }).length < 4096,
  );
});
