/** From a logical line to a rule: hosts_access(5) ACCESS CONTROL RULES. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRule, splitRule } from "../../src/access/parse.ts";

const rows: [line: string, fields: string[] | undefined, because: string][] = [
  ["sshd: ALL", ["sshd", " ALL"], "two fields"],
  ["sshd: ALL: allow", ["sshd", " ALL", " allow"], "three"],
  ["sshd:ALL:spawn a:b:c", ["sshd", "ALL", "spawn a:b:c"], "colons of the options are theirs"],
  ["sshd: ALL:", ["sshd", " ALL", ""], "empty options are options"],
  [":", ["", ""], "empty lists are lists"],
  ["::", ["", "", ""], "all of them empty"],
  ["[a:b]: [c:d] : e", ["[a:b]", " [c:d] ", " e"], "colons in brackets part nothing"],
  ["a: [b: c", ["a", " [b: c"], "nor behind one that stays open"],
  ["a]: b", undefined, "nor behind one that closes nothing"],
  ["a: b]: c", ["a", " b]: c"], "in either list"],
  ["a [b]: c", ["a [b]", " c"], "brackets count from the start of their field"],
  ["no colon", undefined, "no rule"],
  ["", undefined, "nor is nothing"],
];
for (const [line, fields, because] of rows) {
  test(`${JSON.stringify(line)}: ${because}`, () => {
    const [daemons, clients, options] = fields ?? [];
    const expected = fields && (options === undefined ? { daemons, clients } : { daemons, clients, options });
    assert.deepEqual(splitRule(line), expected);
    assert.deepEqual(parseRule({ text: line, line: 1 }, none)?.options, options);
  });
}

test("a rule holds its line, its text, and the patterns of both lists", () => {
  const text = "sshd 22@10.0.0.1 EXCEPT x: bob@ALL : allow";
  assert.deepEqual(parseRule({ text, line: 7 }, none), {
    line: 7,
    text,
    daemons: [
      [
        { left: { kind: "exact", text: "sshd" } },
        {
          left: 22,
          server: { kind: "text", pattern: { kind: "exact", text: "10.0.0.1" }, mayBeName: false },
        },
      ],
      [{ left: { kind: "exact", text: "x" } }],
    ],
    clients: [
      [
        {
          host: { kind: "text", pattern: { kind: "all" }, mayBeName: true },
          user: { kind: "exact", text: "bob" },
        },
      ],
    ],
    options: " allow",
  });
  assert.ok(!("options" in (parseRule({ text: "a: b", line: 1 }, none) ?? {})));
});

test("the interfaces that there are decide about scopes, for daemons and for clients", () => {
  for (const text of ["x@[fe80::1%lo]: ALL", "x: [fe80::1%lo]"]) {
    const kinds = [none, () => true].map((hasInterface) => {
      const rule = parseRule({ text, line: 1 }, hasInterface);
      const host = rule?.daemons[0]?.[0]?.server ?? rule?.clients[0]?.[0]?.host;
      return host?.kind === "text" ? host.pattern.kind : host?.kind;
    });
    assert.deepEqual(kinds, ["never", "ipv6"]);
  }
});

function none(): boolean {
  return false;
}
