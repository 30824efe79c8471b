/** The course of a decision: which table, which rule, which facts, which verdict. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/access/decide.ts";
import { ruleText } from "../../src/access/rule-text.ts";
import type { Request, Verdict } from "../../src/access/types.ts";
import { loadText } from "../support/load-text.ts";

const fresh: Request = {
  daemon: "sshd",
  client: { address: "192.0.2.1" },
  server: { address: "198.51.100.1", port: 22 },
};
const named: Request = { ...fresh, client: { ...fresh.client, name: "host.test" } };

const courses: [allow: string, deny: string, verdict: string, because: string][] = [
  ["", "", "allow", "no rule allows"],
  ["sshd: ALL", "ALL: ALL", "allow hosts.allow:1", "the allow table comes first"],
  ["ftpd: ALL", "ALL: ALL", "refuse hosts.deny:1", "then the deny table"],
  ["ftpd: ALL", "ftpd: ALL", "allow", "neither"],
  ["sshd: 192.0.2. : deny\nsshd: ALL", "", "refuse hosts.allow:1", "the first rule that matches ends it"],
  ["#\nsshd: 10.\nsshd: \\\nALL", "ALL: ALL", "allow hosts.allow:4", "a rule stands where it ends"],
  ["", "sshd: ALL: allow\nALL: ALL", "allow hosts.deny:1", "a rule of hosts.deny may allow"],
  ["sshd: ALL: bogus", "", "refuse hosts.allow:1 error", "a broken option refuses"],
  ["ftpd: ALL: bogus\nsshd: ALL", "ALL: ALL", "allow hosts.allow:2", "but only those whom the rule matches"],
  ["sshd: ALL: twist x", "", "twist hosts.allow:1", "a command may serve the client"],
];
for (const [allow, deny, verdict, because] of courses) {
  test(`${JSON.stringify(allow)} and ${JSON.stringify(deny)}: ${because}`, () => {
    assert.equal(summary(verdictOf(allow, deny)), verdict);
  });
}

/** Asked of a request that knows nothing but addresses. */
const asks: [rules: string, asks: string, because: string][] = [
  ["sshd: ALL", "-", "ALL needs no name"],
  ["sshd: 192.0.2.1", "-", "nor does an address"],
  ["sshd: 10. 10.0.0.0/8 10.0.0.1 [2001:db8::]/32", "-", "nor anything that is compared with addresses only"],
  ["sshd: 192.0.2.*", "-", "nor a wildcard that the address meets"],
  ["sshd: 10.*", "clientName", "but one that it does not meet"],
  ["sshd: .test", "clientName", "a suffix"],
  ["sshd: host", "clientName", "a name"],
  ["sshd: UNKNOWN", "clientName", "a reserved value"],
  ["sshd: [2001:db8::1]", "clientName", "an IPv6 address, to which a name could be equal"],
  ["sshd: LOCAL", "clientName", "LOCAL"],
  ["sshd: KNOWN", "clientName", "KNOWN"],
  ["sshd: @group", "clientName", "a netgroup"],
  ["sshd: 192.0.2.1 host", "-", "not behind a word that matches"],
  ["sshd: host 192.0.2.1", "clientName", "but before it"],
  ["sshd: ALL EXCEPT host", "clientName", "an exception is asked when the rest matches"],
  ["sshd: 10. EXCEPT host", "-", "and only then"],
  ["ftpd: host", "-", "not for another daemon"],
  ["sshd: 192.0.2.1\nsshd: host", "-", "not behind a rule that matches"],
  ["sshd: host\nsshd: 192.0.2.1", "clientName", "but before it"],
  ["sshd: bob@ALL", "user", "the user, when the host matches"],
  ["sshd: bob@10.", "-", "and only then"],
  ["sshd: bob@host", "clientName", "the host comes first"],
  ["sshd@host: ALL", "serverName", "the name of the server"],
  ["sshd@198.51.100.1: ALL", "-", "not when its address will do"],
  ["ftpd@host: ALL", "-", "nor for another daemon"],
  ["sshd: ALL: spawn %n", "clientName", "an expansion"],
  ["sshd: ALL: spawn %N", "serverName", "of the server's name"],
  ["sshd: ALL: spawn %h %c %s %a", "-", "those that take what is there do not ask"],
  ["sshd: /list", "clientName", "a word of a file"],
  ["sshd: /addresses", "-", "unless it needs none"],
  ["sshd: /nested", "clientName", "through another file"],
  ["sshd: /first", "-", "behind one that matches"],
  ["sshd: /late", "clientName", "and before one that does"],
];
for (const [rules, asked, because] of asks) {
  test(`${JSON.stringify(rules)} asks for ${asked}: ${because}`, () => {
    const files = {
      "/list": "10.0.0.1 x.test",
      "/addresses": "10.0.0.1",
      "/nested": "10. /list",
      "/first": "192.0.2.1 x",
      "/late": "x.test 192.0.2.*",
    };
    for (const [allow, deny] of [
      [rules, ""],
      ["", rules],
    ] as const) {
      const step = decide(loadText(`${allow}\n`, `${deny}\n`, files).tables, fresh);
      assert.equal(step.kind === "need" ? step.fact.kind : "-", asked);
    }
  });
}

test("a fact that is there is not asked for, and the decision goes on from it", () => {
  const { tables } = loadText("sshd: bob@.test\n", "ALL: ALL\n");
  assert.deepEqual(decide(tables, fresh), { kind: "need", fact: { kind: "clientName" } });
  assert.deepEqual(decide(tables, named), { kind: "need", fact: { kind: "user" } });
  assert.equal(decide(tables, { ...named, user: "bob" }).kind, "allow");
  assert.equal(decide(tables, { ...named, user: "unknown" }).kind, "refuse");
});

test("difference 6: nothing that a rule sets outlives its decision", () => {
  const { tables } = loadText(
    "sshd: 192.0.2.1: severity mail.err: umask 0: setenv A 1: nice 5: aclexec false\nsshd: ALL: spawn x\n",
    "ALL: ALL: severity info\n",
  );
  const first = decide(tables, { ...named, user: "bob", commands: ["failed"] });
  assert.equal(first.kind, "refuse");
  const second = decide(tables, { ...named, client: { address: "192.0.2.2", name: "x.test" } });
  assert.deepEqual(second, {
    kind: "allow",
    rule: { file: "hosts.allow", line: 2, index: 1 },
    reason: "rule",
    effects: [{ kind: "spawn", command: { line: "x", environment: {} } }],
    diagnostics: [],
  });
});

test("a verdict says which rule decided, and what its options have set", () => {
  const rule = { file: "hosts.allow", line: 1, index: 0 };
  const plain = { kind: "allow", rule, reason: "rule", effects: [], diagnostics: [] };
  assert.deepEqual(verdictOf("sshd: ALL", ""), plain);
  assert.deepEqual(verdictOf("sshd: ALL: nice", ""), plain);
  assert.deepEqual(verdictOf("sshd: ALL: severity mail.err: keepalive", ""), {
    ...plain,
    effects: [{ kind: "keepalive" }],
    severity: { facility: "mail", level: "err" },
  });
  assert.deepEqual(verdictOf("sshd: ALL: severity info: twist x", ""), {
    ...plain,
    kind: "twist",
    command: { line: "x", environment: {} },
    severity: { level: "info" },
  });
});

test("noMatch says what holds where no rule matches", () => {
  for (const noMatch of ["allow", "refuse"] as const) {
    const { tables } = loadText("ftpd: ALL\n", "ftpd: ALL\n", {}, noMatch);
    assert.deepEqual(decide(tables, fresh), {
      kind: noMatch,
      reason: "no_match",
      effects: [],
      diagnostics: [],
    });
  }
});

test("a table that cannot be read: hosts.allow falls through, hosts.deny refuses, and both say why", () => {
  const unreadable = { kind: "unreadable", reason: "Permission denied" } as const;
  const ofAllow = loadText("", "sshd: 10.\n", { "hosts.allow": unreadable });
  const passed = decide(ofAllow.tables, fresh);
  assert.equal(passed.kind, "allow");
  const message = "cannot open hosts.allow: Permission denied";
  assert.deepEqual(passed.kind === "allow" && passed.diagnostics.map((diagnostic) => diagnostic.message), [
    message,
  ]);
  assert.deepEqual(
    ofAllow.diagnostics.map(({ file, line, code, severity }) => [file, line, code, severity]),
    [["hosts.allow", 0, "cannot-open", "error"]],
  );
  const ofDeny = decide(loadText("sshd: 10.\n", "", { "hosts.deny": unreadable }).tables, fresh);
  assert.deepEqual([ofDeny.kind, ofDeny.kind === "refuse" && ofDeny.reason], ["refuse", "error"]);
  const both = decide(
    loadText("", "", { "hosts.allow": unreadable, "hosts.deny": unreadable }).tables,
    fresh,
  );
  assert.equal(both.kind === "refuse" && both.diagnostics.length, 2);
  const matched = decide(loadText("", "ALL: ALL\n", { "hosts.allow": unreadable }).tables, fresh);
  assert.equal(matched.kind === "refuse" && matched.diagnostics.length, 1);
});

test("rules above a line beyond all bounds work, and what comes to it is refused in hosts.deny", () => {
  const broken = `sshd: 192.0.2.: allow\n# ${"x".repeat(1 << 20)}\nALL: ALL: allow\n`;
  assert.equal(summary(verdictOf("", broken)), "allow hosts.deny:1");
  const other = { ...named, client: { address: "10.0.0.1", name: "x.test" } };
  assert.equal(summary(verdictOf("", broken, other)), "refuse error");
  assert.equal(summary(verdictOf(broken, "", other)), "allow");
});

test("a missing table is an empty one", () => {
  assert.equal(
    summary(
      verdictOf("", "", named, { "hosts.allow": { kind: "missing" }, "hosts.deny": { kind: "missing" } }),
    ),
    "allow",
  );
});

test("the text of a rule is that of its own table; none is none", () => {
  const { tables } = loadText("ftpd: ALL\n", "sshd: ALL\n");
  const text = (file: string, index: number): string => ruleText(tables, { file, index, line: 1 });
  assert.deepEqual([text("hosts.allow", 0), text("hosts.deny", 0)], ["ftpd: ALL", "sshd: ALL"]);
  assert.deepEqual([text("hosts.allow", 1), text("hosts.deny", 1)], ["", ""]);
});

/** Of a client whose address or name has a form that no index knows. */
const unusual: [list: string, address: string, name: string, isAllowed: boolean, because: string][] = [
  ["10. 255.255.255.255", "255.255.255.255", "unknown", true, "the last address, as text"],
  ["10. 192.0.2.1", "255.255.255.255", "unknown", false, "and no other"],
  ["10. host.test", "255.255.255.255", "host.test", true, "its name"],
  ["10. [2001:db8::1]", "192.0.2.1", "2001:db8::1", true, "a name that reads as an address"],
  ["10. .2.1", "192.0.3.1", "x.2.1", false, "digits are never compared with names"],
  ["10. .2.1", "192.0.2.1", "unknown", true, "but with addresses"],
];
for (const [list, address, name, isAllowed, because] of unusual) {
  test(`${list}, in a file or not, and ${name} at ${address}: ${because}`, () => {
    for (const [rule, files] of [
      [`sshd: ${list}`, {}],
      ["sshd: /list", { "/list": list }],
    ] as const) {
      const { kind } = verdictOf(rule, "ALL: ALL", { ...named, client: { address, name } }, files);
      assert.equal(kind === "allow", isAllowed, rule);
    }
  });
}

test("the text of a rule is what was written, as UTF-8", () => {
  const text = Buffer.from("sshd: 192.0.2. \\\n ,caf\u00e9.test").toString("latin1");
  const { tables } = loadText(text, "");
  const { rule } = verdictOf(text, "");
  assert.equal(rule && ruleText(tables, rule), "sshd: 192.0.2.  ,caf\u00e9.test");
});

test("a daemon with letters beyond ASCII is compared by its bytes", () => {
  const text = Buffer.from("caf\u00e9: ALL").toString("latin1");
  assert.equal(
    summary(verdictOf(text, "ALL: ALL", { ...named, daemon: "caf\u00e9" })),
    "allow hosts.allow:1",
  );
});

test("more daemon lists than the index has groups are all asked", () => {
  const rules = Array.from({ length: 400 }, (_, index) => `daemon${index}: 192.0.2.\n`).join("");
  for (const index of [0, 255, 256, 399]) {
    assert.equal(
      summary(verdictOf(rules, "ALL: ALL", { ...named, daemon: `daemon${index}` })),
      `allow hosts.allow:${index + 1}`,
    );
  }
  assert.equal(summary(verdictOf(rules, "ALL: ALL")), "refuse hosts.deny:1");
});

test("more daemons than are remembered are all answered", () => {
  const { tables } = loadText("d1*: ALL\n8080: ALL\n", "ALL: ALL\n");
  for (let round = 0; round < 2; round++) {
    for (let index = 0; index < 200; index++) {
      const expected = String(index).startsWith("1") ? "allow" : "refuse";
      assert.equal(decide(tables, { ...named, daemon: `d${index}` }).kind, expected);
    }
  }
  assert.equal(decide(tables, { ...named, server: { address: "198.51.100.1", port: 8080 } }).kind, "allow");
  assert.equal(decide(tables, named).kind, "refuse");
});

function verdictOf(
  allow: string,
  deny: string,
  request: Request = named,
  files: Parameters<typeof loadText>[2] = {},
): Verdict {
  const step = decide(loadText(`${allow}\n`, `${deny}\n`, files).tables, request);
  return step.kind === "need" ? assert.fail(`it asks for ${step.fact.kind}`) : step;
}

function summary({ kind, rule, reason }: Verdict): string {
  const place = rule === undefined ? "" : ` ${rule.file}:${rule.line}`;
  return kind + place + (reason === "error" ? " error" : "");
}
