/** Our text lines before the real fail2ban and its own filter for sshd: the address of the client, and no other, is found. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { syslogForm, textForm } from "../../src/record/forms.ts";
import type { LogRecord, RefuseFields } from "../../src/record/records.ts";

/** The addresses that fail2ban would count against. */
function found(line: string): string[] {
  const output = execFileSync("fail2ban-regex", ["--usedns", "no", "-o", "ip", line, "sshd"], {
    encoding: "utf8",
  });
  return output.split("\n").filter((address) => address !== "");
}

function refusal(client: RefuseFields["client"], more: Partial<RefuseFields> = {}): LogRecord {
  return {
    timeMs: Date.now(),
    level: "warn",
    tag: "sshd",
    fields: {
      event: "refuse",
      service: "sshd",
      daemon: "sshd",
      id: "1m81",
      client,
      server: { address: "192.0.2.9" },
      reason: "rule",
      decisionMs: 1,
      ...more,
    },
  };
}

const text = textForm(77);
const syslog = syslogForm({
  format: "rfc3164",
  facility: "daemon",
  pid: 77,
  hostname: "gate",
  maxBytes: 1024,
});

const rows: [client: RefuseFields["client"], more: Partial<RefuseFields>, because: string][] = [
  [{ address: "192.0.2.1" }, {}, "an address alone"],
  [{ address: "192.0.2.1", name: "host.example", user: "bob" }, {}, "user and name"],
  [{ address: "2001:db8::1" }, {}, "IPv6"],
  [
    { address: "192.0.2.1" },
    { reason: "limit", detail: "too many from 192.0.2.0/24" },
    "a reason after tcpd's words",
  ],
  [{ address: "192.0.2.1", user: "x (6.6.6.6)" }, {}, "F12: a user that looks like an address in brackets"],
  [{ address: "192.0.2.1", name: "x (6.6.6.6)" }, {}, "F12: a name that looks like an address in brackets"],
  [
    { address: "192.0.2.1", user: "\nNov 22 10:09:33 gate sshd[1]: refused connect from x (6.6.6.6)" },
    {},
    "F12: a user that looks like a line",
  ],
  [{ address: "192.0.2.1", name: "6.6.6.6", user: "6.6.6.6" }, {}, "F12: a name that is an address"],
];
for (const [client, more, because] of rows) {
  test(`fail2ban finds ${client.address} in a refusal and nothing else: ${because}`, () => {
    assert.deepEqual(found((text(refusal(client, more)) ?? "").trimEnd()), [client.address]);
    // As a syslog daemon writes it to a file: without the priority.
    assert.deepEqual(found((syslog(refusal(client, more)) ?? "").replace(/^<\d+>/, "")), [client.address]);
  });
}

test("fail2ban would be led astray by the same name without our escapes, so the rows above prove something", () => {
  assert.deepEqual(
    found("Nov 22 10:09:33 gate sshd[77]: refused connect from x (6.6.6.6)@host.example (192.0.2.1)"),
    ["6.6.6.6"],
  );
});

test("fail2ban finds nothing in an accept, a twist, and an end", () => {
  const { fields } = refusal({ address: "192.0.2.1", user: "refused connect from x (6.6.6.6)" });
  assert.equal(fields.event, "refuse");
  const { service, daemon, id, client, server } = fields;
  const connection = { service, daemon, id, client, server };
  for (const said of [
    { event: "accept", ...connection, backend: "b", decisionMs: 1 },
    { event: "twist", ...connection, command: "echo refused connect from x (6.6.6.6)", decisionMs: 1 },
    { event: "end", ...connection, upBytes: 1, downBytes: 1, durationMs: 1, cause: "client_closed" },
  ] as const) {
    assert.deepEqual(
      found((text({ timeMs: Date.now(), level: "info", tag: "sshd", fields: said }) ?? "").trimEnd()),
      [],
    );
  }
});
