/** %-sequences: hosts_access(5) % EXPANSIONS. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { expand, MAX_EXPANSION, withLate } from "../../src/access/expand.ts";
import type { Request } from "../../src/access/types.ts";

const known: Request = {
  daemon: "sshd",
  client: { address: "192.0.2.1", name: "host.test", port: 40000 },
  server: { address: "198.51.100.1", name: "server.test", port: 22 },
  user: "bob",
  processId: 7,
};
const asked: Request = {
  daemon: "sshd",
  client: { address: "192.0.2.1", name: "paranoid" },
  server: { address: "unknown", name: "unknown" },
  user: "unknown",
};
const fresh: Request = {
  daemon: "sshd",
  client: { address: "192.0.2.1" },
  server: { address: "198.51.100.1" },
};

const rows: [text: string, known: string, asked: string, fresh: string, because: string][] = [
  ["%a %A", "192.0.2.1 198.51.100.1", "192.0.2.1 unknown", "192.0.2.1 198.51.100.1", "addresses"],
  [
    "%h %H",
    "host.test server.test",
    "192.0.2.1 unknown",
    "192.0.2.1 198.51.100.1",
    "name if known, else address",
  ],
  ["%n %N", "host.test server.test", "paranoid unknown", "? clientName", "name, asked for"],
  ["%N", "server.test", "unknown", "? serverName", "name of the server, asked for"],
  ["%c", "bob@host.test", "192.0.2.1", "192.0.2.1", "user if known already"],
  ["%s", "sshd@server.test", "sshd", "sshd@198.51.100.1", "daemon, with the server if that is known"],
  ["%d %u", "sshd bob", "sshd unknown", "? user", "daemon and user"],
  ["%p %r %R", "7 40000 22", "0 0 0", "0 0 0", "process and ports, 0 if unknown"],
  ["100%% %%a", "100% %a", "100% %a", "100% %a", "a percent sign, once over"],
  ["50%", "50%", "50%", "50%", "a lone one at the end stays"],
  ["$(a) `b` %%", "$(a) `b` %", "$(a) `b` %", "$(a) `b` %", "the text of the rule is left alone"],
  ["", "", "", "", "nothing"],
];
for (const [text, whenKnown, whenAsked, whenFresh, because] of rows) {
  test(`"${text}": ${because}`, () => {
    assert.equal(said(text, known), whenKnown);
    assert.equal(said(text, asked), whenAsked);
    assert.equal(said(text, fresh), whenFresh);
  });
}

test("what comes from outside keeps only what means nothing to a shell", () => {
  const ascii = Array.from({ length: 127 }, (_, code) => String.fromCharCode(code + 1)).join("");
  const kept = ascii.replace(/[^A-Za-z0-9!@%\-_=+:,./]/g, "_");
  assert.equal(said("%u", { ...known, user: ascii }), kept);
  assert.equal(said("%u;%d", { ...known, user: "a b;c`d$e\u00e9\n", daemon: "x'y" }), "a_b_c_d_e___;x_y");
  assert.match(kept, /^_{32}!_{3}%_{5}\+,-\.\/0123456789:/);
});

test("where a fact is needed, what is done stands on one side and what is left on the other", () => {
  assert.deepEqual(expand("a%a %q %n %h", fresh), {
    kind: "need",
    fact: { kind: "clientName" },
    done: "a192.0.2.1  ",
    rest: "%n %h",
    problems: ["unrecognized %q"],
  });
});

test("a fact that an option asked for is noted as late, once; no other is", () => {
  const late = withLate(fresh, { kind: "user", isLate: true });
  assert.deepEqual(late, { ...fresh, late: ["user"] });
  assert.deepEqual(withLate(late, { kind: "clientName", isLate: true }).late, ["user", "clientName"]);
  assert.equal(withLate(late, { kind: "user", isLate: true }), late);
  assert.equal(withLate(fresh, { kind: "clientName" }), fresh);
  assert.equal(withLate(fresh, { kind: "aclexec", command: { line: "x", environment: {} } }), fresh);
});

const reserved: [text: string, request: Partial<Request>, said: string, because: string][] = [
  ["%c", { user: "UNKNOWN" }, "host.test", "an ident server that says UNKNOWN says nothing"],
  ["%u", { user: "UNKNOWN" }, "UNKNOWN", "though %u shows it"],
  ["%h %c", { client: { address: "192.0.2.1", name: "Paranoid" } }, "192.0.2.1 bob@192.0.2.1", "a name"],
  ["%s", { server: { address: "Unknown" } }, "sshd", "a server"],
];
for (const [text, facts, expected, because] of reserved)
  test(`"${text}" with ${JSON.stringify(facts)}: unknown and paranoid have any case: ${because}`, () =>
    assert.equal(said(text, { ...known, ...facts }), expected));

test("a value is not expanded again", () => {
  assert.equal(said("%u", { ...known, user: "%h" }), "%h");
});

test("an unknown letter expands to nothing and is reported", () => {
  assert.deepEqual(expand("a%qb%Z", known), {
    kind: "text",
    text: "ab",
    problems: ["unrecognized %q", "unrecognized %Z"],
    request: known,
  });
});

test("an expansion holds so many characters and no more", () => {
  const user = "u".repeat(91);
  const request = { ...known, user };
  assert.equal(MAX_EXPANSION, 91 * 90);
  assert.equal(said("%u".repeat(90), request).length, MAX_EXPANSION);
  const tooLong = expand(`${"%u".repeat(90)}x`, request);
  assert.deepEqual(tooLong, { kind: "tooLong", problem: `expansion too long: ${"u".repeat(30)}...` });
  assert.equal(expand(`${"%u".repeat(91)}%n`, { ...fresh, user }).kind, "tooLong");
  assert.equal(expand(`x${"%u".repeat(90)}`, request).kind, "tooLong", "whatever stands behind it counts");
});

function said(text: string, request: Request): string {
  const expansion = expand(text, request);
  if (expansion.kind === "need") return `? ${expansion.fact.kind}`;
  return expansion.kind === "text" ? expansion.text : expansion.kind;
}
