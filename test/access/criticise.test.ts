/** What a careful reader says about tables: one row per trap of the language. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { Criticism } from "../../src/access/criticise.ts";
import { isGrave } from "../../src/access/codes.ts";
import { decide } from "../../src/access/decide.ts";
import type { Diagnostic, Request, Source } from "../../src/access/types.ts";
import { loadTables, type Loaded } from "../../src/config/load.ts";
import { nearest } from "../../src/config/nearest.ts";
import { fuzzSeed } from "../support/fuzz-seed.ts";
import { question, table } from "../support/random-tables.ts";

type Knowing = Omit<Criticism, "allow" | "deny" | "lists" | "netgroups">;

function load(allow: string, deny: string, knowing: Knowing, files: Record<string, string> = {}): Loaded {
  const texts: Record<string, string> = { "/allow": allow, "/deny": deny, ...files };
  const read = (path: string): Source => {
    const text = texts[path];
    return text === undefined ? { kind: "missing" } : { kind: "text", bytes: Buffer.from(text, "latin1") };
  };
  return loadTables({ allow: "/allow", deny: "/deny", noMatch: "allow", read, criticism: knowing });
}

function print({ file, line, column, code, message, hint }: Diagnostic): string {
  return `${file}:${line}:${column ?? "-"} ${code}: ${message}${hint === undefined ? "" : `; ${hint}`}`;
}

/** The first remark on hosts.allow. */
const rows: [rule: string, remark: RegExp | undefined, because: string][] = [
  ["sshd: 192.0.2.0/24", undefined, "a network is as it must be"],
  ["sshd: 192.0.2. 192.0.2.7 .example.org host.example.org LOCAL", undefined, "so are these"],
  ["sshd: [2001:db8::]/32 [::1] [fe80::1%lo]", undefined, "and these"],
  ["sshd@192.0.2.1: ALL EXCEPT .example.org EXCEPT x.example.org", undefined, "and these"],
  [
    "sshd: 192.0.2.10/24",
    /^\/allow:1:7 host-bits-set: "192.0.2.10\/24" has bits set below the mask; write "192.0.2.0\/24"$/,
    "A7: host bits",
  ],
  [
    "sshd: 192.0.2.10/255.255.255.0",
    /host-bits-set: .*; write "192.0.2.0\/255.255.255.0"$/,
    "A7: host bits, dotted",
  ],
  ["sshd: 192.0.2.0/33", /bad-net-mask: .* never matches: a length is 1 to 32$/, "A7: a length beyond 32"],
  ["sshd: 0.0.0.0/0", /bad-net-mask: .*; write "ALL"$/, "a length of 0 matches nobody"],
  ["sshd: 192.0.2/24", /bad-net-mask: .*; write "192.0.2.0\/24"$/, "a network has four parts"],
  ["sshd: 192.0.2.1/255.255.255.255", /bad-net-mask: .*; write "192.0.2.1"$/, "this mask does not read"],
  [
    "sshd: 192.0.2.0/24EXCEPT 192.0.2.1",
    /bad-net-mask: .* is read as "192.0.2.0\/24"; leave a blank/,
    "text behind a length is lost",
  ],
  ["sshd: 10.0.0.0/255.0.255.0", /mask-not-contiguous/, "A7: a mask with holes"],
  [
    "sshd: 010.0.0.0/8",
    /leading-zero: .* octal, so this is "8.0.0.0\/8"; write "10.0.0.0\/8", or "8.0.0.0\/8" if that is meant$/,
    "A11: octal",
  ],
  [
    "sshd: 010.1.2.3/8",
    /leading-zero: .* "8.1.2.3\/8", which never matches: .*; write "10.0.0.0\/8"$/,
    "A11: octal with host bits: what is to be written has none",
  ],
  [
    "sshd: 10.0.0.0/0255.0.0.0",
    /leading-zero: .* "10.0.0.0\/173.0.0.0", which never.*; write "10.0.0.0\/255.0.0.0"$/,
    "A11: a mask is octal too",
  ],
  [
    "sshd: 10.1.0.0/0377.0377.0.0",
    /leading-zero: .* so this is "10.1.0.0\/255.255.0.0"; write "10.1.0.0\/255.255.0.0"$/,
    "A11: a mask that was meant to be octal",
  ],
  [
    "sshd: 10.0.0.0/255.000.000.000",
    /leading-zero: .*; write "10.0.0.0\/255.0.0.0"$/,
    "A11: 000 is 0 in every way of counting",
  ],
  ["sshd: 08.0.0.0/8", /leading-zero: .* does not read, .*; write "8.0.0.0\/8"$/, "A11: 8 is no octal digit"],
  ["sshd: 192.168.010/24", /leading-zero: .*; write "192.168.10.0\/24"$/, "A11: in a short network"],
  ["sshd: 010.0.0.0/33", /leading-zero: .* does not read.*; write the address without/, "A11: a bad length"],
  ["sshd: 0x0a.0.0.0/8", /leading-zero: .* with 0x is hexadecimal, .*; write "10.0.0.0\/8"$/, "hexadecimal"],
  [
    "sshd: 10.1.2.3/08",
    /host-bits-set: .*; write "10.0.0.0\/8"$/,
    "a length is decimal, zeros before it or not",
  ],
  ["sshd: 10.1/8", /bad-net-mask: .*; write "10.0.0.0\/8"$/, "a short network with host bits"],
  ["sshd: 10.1/33", /bad-net-mask: .* "10.1" is no network$/, "what does not read either is no hint"],
  ["sshd: 10.0.0.0/255.0", /bad-net-mask: .* is no mask.*; write "10.0.0.0\/255.0.0.0"$/, "a short mask"],
  ["sshd: 10.0.0.0/377.0.0.0", /bad-net-mask: .* "377.0.0.0" is no mask, .* numbers$/, "a mask that is none"],
  ["sshd: 10.0.0.0/0x8", /bad-net-mask: .* "0x8" is no mask, .* numbers$/, "a length is not everybody"],
  [
    "sshd: ALL EXCEPT 10. EXCEPT 10.1. EXCEPT 10.1.1. except 10.1.1.1",
    /^\/allow:1:50 deep-except: the client list has 4 EXCEPT, .*; write several rules/,
    "who is meant is hard to tell",
  ],
  ["sshd: ALL EXCEPT 10. EXCEPT 10.1. EXCEPT 10.1.1.", undefined, "three exceptions can be followed"],
  ["sshd: 192.0.02.1", /leading-zero: .*; write "192.0.2.1"$/, "A11: a leading zero never matches"],
  ["sshd: 192.0.2", /partial-address: .*; write "192.0.2."$/, "the beginning of an address ends in a dot"],
  ["sshd: .192.0", /partial-address/, "a network begins with no dot"],
  ["sshd: 192.0.2.300", /bad-address/, "a part beyond 255"],
  ["sshd: 192.0.2.1.", /bad-address: .*; write "192.0.2.1"$/, "a whole address ends in no dot"],
  [
    "sshd: 2001:db8::1",
    /^\/allow:1:7 unbracketed-ipv6: .*; write "\[2001:db8::1\]"$/,
    "A10: IPv6 without brackets",
  ],
  ["sshd: ::1", /unbracketed-ipv6: .*; write "\[::1\]"$/, "A10: so too loopback"],
  [
    "sshd: ALL EXCEPT 2001:db8::/32",
    /unbracketed-ipv6: .*; write "\[2001:db8::\]\/32"$/,
    "A10: so too a prefix",
  ],
  [
    "sshd: 2001:db8:1:2:3:4:5:6",
    /unbracketed-ipv6: .*; write "\[2001:db8:1:2:3:4:5:6\]"$/,
    "A10: a long one",
  ],
  [
    "sshd: x[2001:db8::1]",
    /bad-ipv6: "x\[2001:db8::1\]" has a bracket that is not closed, or text around it/,
    "text around",
  ],
  ["sshd: [2001:db8::/32]", /bad-ipv6: .*; write "\[2001:db8::\]\/32"$/, "A10: the length stands outside"],
  ["sshd: [2001:db8::]/x", /bad-net-mask: .* is read as "\[2001:db8::\]\/0"/, "no number is 0: all of IPv6"],
  ["sshd: [2001:db8::]/129", /bad-net-mask: .* a length is 0 to 128$/, "a length beyond 128"],
  ["sshd: [::ffff:10.0.0.0]/104", /mapped-ipv4: .*; write "10.0.0.0\/8"$/, "A9: IPv4 is compared as IPv4"],
  ["sshd: [::ffff:10.1.2.3]/104", /mapped-ipv4: .*; write "10.0.0.0\/8"$/, "A9: without its host bits"],
  ["sshd: [::ffff:10.1.2.3]", /mapped-ipv4: .*; write "10.1.2.3"$/, "A9: one address"],
  ["sshd: [::ffff:0:0]/96", /mapped-ipv4: .*; write "0.0.0.0\/0.0.0.0"$/, "A9: all of IPv4"],
  ["sshd: [::ffff:10.0.0.0]/x", /mapped-ipv4: .* compared as IPv4$/, "A9: a length that does not read"],
  ["sshd: [::ffff:10.0.0.0]/129", /mapped-ipv4: .* compared as IPv4$/, "A9: a length beyond 128"],
  ["sshd: [192.0.2.1]", /bad-ipv6: .*; write "192.0.2.1"$/, "brackets are for IPv6"],
  ["sshd: [2001:db8::1, ALL : deny", /^\/allow:1:7 unclosed-bracket/, "an open bracket hides the option"],
  ["sshd: 192.0.2.*", /pattern-matches-names: .*; write "192.0.2."$/, "compared with names too"],
  [
    "sshd: client.",
    /name-ends-in-dot: .*; write "client", or "\.client" for a domain$/,
    "names that begin so",
  ],
  ["sshd: !10.0.0.1", /negation: .*; write "ALL EXCEPT 10.0.0.1"$/, "no negation"],
  ["sshd: 10.0.0.1;10.0.0.2", /bad-character: .* has ";"; separate patterns/, "a strange separator"],
  [
    "sshd: .b\u00c3\u00bccher.example",
    /bad-character: "\.b\u00fccher\.example" .* has "\u00fc" \(U\+00FC\); write "\.xn--bcher-kva\.example"$/,
    "A19: DNS has no umlauts",
  ],
  [
    "sshd: *.B\u00c3\u009cCHER.Example",
    /bad-character: .*; write "\*\.xn--bcher-kva\.Example"$/,
    "A19: a wildcard stays beside it",
  ],
  [
    "sshd: b*\u00c3\u00bc",
    /bad-character: .* "\u00fc" .*; write the name as DNS/,
    "A19: a part has no such form",
  ],
  ["sshd: b\u00fccher.example", /bad-character: .* no UTF-8; write the name as DNS/, "A19: Latin-1"],
  ["sshd: a\u00c2\u00a0b", /bad-character: .* has U\+00A0; separate patterns/, "a blank that is none"],
  ["sshd: a\u00e2\u0080\u00aeb", /bad-character: .* has U\+202E; take it away/, "what turns the text around"],
  [
    "sshd: \u00ef\u00bb\u00bfa",
    /bad-character: .* has U\+FEFF; take it away/,
    "a byte-order mark in the middle",
  ],
  ["sshd: a\u000bb", /bad-character: .* has U\+000B; take it away/, "a control character"],
  [
    "sshd: \u00f0\u009f\u0098\u0080.example",
    /bad-character: .* has "\u{1f600}" \(U\+1F600\); write the name as DNS/u,
    "what is no letter",
  ],
  ["sshd: FAIL", /old-keyword/, "a keyword of old"],
  ["sshd: @friends", /unknown-netgroup/, "a netgroup that is not there"],
  ["sshd: PARANOID", /paranoid-allowed/, "forged names are let in"],
  ["sshd: PARANOID : deny", undefined, "forged names are refused"],
  ["sshd: root@client.example.org", /^\/allow:1:7 ident-trusted/, "the client's machine says the user"],
  ["sshd: ALL@client.example.org", undefined, "any user trusts nobody"],
  [
    "sshd: .bob@client.example.org",
    /bad-user-name: user name "\.bob" begins with a dot/,
    "a user is no domain",
  ],
  ["sshd: PARANOID@client.example.org", /bad-user-name/, "a user is no keyword"],
  ["sshd: 10.0.0.1 # office", /^\/allow:1:16 inline-comment/, "no comments behind a rule"],
  [" # sshd: ALL", /^\/allow:1:2 indented-comment/, "no comments behind blanks"],
  ["# old \\\nsshd: ALL", /^\/allow:2:1 comment-continued/, "a comment that swallows a rule"],
  ["sshd:", /empty-list: the client list is empty/, "no clients"],
  [": ALL", /empty-list: the daemon list is empty/, "no daemons"],
  [
    "sshd: ALL EXCEPT",
    /^\/allow:1:11 empty-list: the client list ends in "EXCEPT"/,
    "an exception of nothing",
  ],
  ["/usr/sbin/sshd: 10.0.0.1", /bad-daemon-name: .*; write "sshd"$/, "a daemon is no path"],
  [".sshd: 10.0.0.1", /bad-daemon-name: .* begins with a dot/, "a daemon is no domain"],
  [
    "KNOWN: 10.0.0.1",
    /reserved-word: "KNOWN" as a daemon matches every one; write "ALL"$/,
    "a keyword for clients",
  ],
  ["sshdd: 10.0.0.1", /unknown-daemon: .*"sshdd"; did you mean "sshd"\?$/, "a misspelt daemon"],
  [
    "vsftpd: 10.0.0.1",
    /unknown-daemon: .*; the rule counts only for other programs/,
    "a daemon that nobody serves",
  ],
  ["23: 10.0.0.1", /unknown-daemon: no configured service listens on port 23/, "a port that nobody serves"],
  ["22: 10.0.0.1", undefined, "a port that is served"],
  ["sshd@192.0.2.10/24: 10.0.0.1", /^\/allow:1:6 host-bits-set/, "our own addresses are read too"],
  [
    "sshd: 10.0.0.1 : nice 5",
    /^\/allow:1:18 option-without-effect: "nice" has no effect/,
    "nothing to be nice for",
  ],
  ["sshd: 10.0.0.1 : nice 5 : spawn true", undefined, "something to be nice for"],
  ["ALL: ALL", /everybody-allowed/, "an open door"],
  ["sshd: 10.0.0.1,\\\n 10.0.0.300", /^\/allow:2:- bad-address/, "a joined line has no columns"],
];
const served = { names: ["sshd"], ports: [22], nearest: (name: string) => nearest(name, ["sshd"]) };
for (const [rule, remark, because] of rows) {
  test(`${JSON.stringify(rule)}: ${because}`, () => {
    const { diagnostics } = load(`${rule}\n`, "", { daemons: served });
    const said = diagnostics.map(print);
    if (remark === undefined) assert.deepEqual(said, []);
    else assert.match(said.find((each) => !each.includes("option name")) ?? "nothing", remark);
  });
}

const dead: [above: string, rule: string, isDead: boolean][] = [
  ["sshd: ALL", "sshd: 192.0.2.7", true],
  ["ALL: 192.0.2.", "sshd: 192.0.2.7", true],
  ["ALL: 192.0.2.0/24", "sshd: 192.0.2.128/25 192.0.2.", true],
  ["sshd: 192.0.2.0/25\nsshd: 192.0.2.128/25", "sshd: 192.0.2.1 192.0.2.200", true],
  ["sshd: 192.0.2.0/25", "sshd: 192.0.2.0/24", false],
  ["sshd: [2001:db8::]/32", "sshd: [2001:db8:1::]/48 [2001:db8::1]", true],
  ["sshd: .example.org", "sshd: www.example.org .sub.example.org", true],
  ["sshd: .example.org", "sshd: example.org", false],
  ["sshd: client.example.org", "sshd: bob@client.example.org", true],
  ["sshd: bob@client.example.org", "sshd: client.example.org", false],
  ["sshd: 10.0.0.1", "sshd@192.0.2.1: 10.0.0.1", true],
  ["sshd@192.0.2.1: 10.0.0.1", "sshd: 10.0.0.1", false],
  ["sshd: ALL EXCEPT 10.0.0.1", "sshd: 192.0.2.1", false],
  ["sshd: ALL", "mysqld: ALL", false],
  ["sshd: 10.0.0.", "sshd: 10.0.0.1 EXCEPT 10.0.0.2", true],
  ["sshd: 10.0.0.1 : deny", "sshd: 10.0.0.1", true],
  ["sshd, mysqld: 10.", "mysqld sshd: 10.1.", true],
];
for (const [above, rule, isDead] of dead) {
  test(`"${rule}" below "${above}" ${isDead ? "never matches" : "may match"}, in one table and in two`, () => {
    for (const { diagnostics } of [
      load(`${above}\n${rule}\n`, "", {}),
      load(`${above}\n`, `${rule}\n`, {}),
    ]) {
      const codes = diagnostics.map(({ code }) => code);
      const isSaid = codes.includes("rule-never-matches") || codes.includes("rule-redundant");
      assert.equal(isSaid, isDead, diagnostics.map(print).join("\n"));
    }
  });
}

test("a rule that never matches is told the first rules above it", () => {
  const { diagnostics } = load(
    "sshd: 192.0.2.0/25\nsshd: 192.0.2.128/25\n",
    "sshd: 192.0.2.1 192.0.2.200\n",
    {},
  );
  assert.deepEqual(diagnostics.map(print), [
    "/deny:1:1 rule-never-matches: this rule never matches: /allow:1, /allow:2 matches its clients first; move it above line 1, or delete it",
  ]);
});

test("a rule whose clients meet the same verdict above is redundant, not dangerous", () => {
  const { diagnostics } = load("sshd: 10.\nsshd: 10.1.\n", "ALL: ALL\nmysqld: 10.1. : severity info\n", {});
  assert.deepEqual(
    diagnostics.map((each) => `${each.line} ${each.code} ${isGrave(each)}`),
    ["2 rule-redundant false", "2 rule-redundant false"],
  );
});

test("a name may match by its own addresses, so its domain above does not hold it", () => {
  const { diagnostics } = load("sshd: .example.org\nsshd: www.example.org\n", "", { followsNames: true });
  assert.deepEqual(diagnostics, []);
});

const gaps: [allow: string, deny: string, knowing: Knowing, codes: string[]][] = [
  ["sshd: 10.0.0.1", "ALL: ALL", {}, []],
  ["sshd: 10.0.0.1\nALL: ALL: deny", "", {}, []],
  ["sshd: 10.0.0.1", "", {}, ["open-by-default"]],
  ["sshd: 10.0.0.1", "sshd: ALL", { daemons: served }, []],
  ["sshd: 10.0.0.1", "mysqld: ALL", { daemons: served }, ["unknown-daemon", "open-by-default"]],
  ["", "ALL: ALL", { daemons: served }, ["nobody-allowed"]],
  ["", "ALL: ALL EXCEPT LOCAL", { daemons: served }, ["nobody-allowed"]],
  ["", "", { noMatch: "refuse", daemons: served }, ["nobody-allowed"]],
  ["sshd: 10.0.0.1", "", { noMatch: "refuse", daemons: served }, []],
  ["", "", {}, ["open-by-default"]],
  ["", "ALL: ALL", {}, ["nobody-allowed"]],
  ["sshd: .example.org", "ALL: ALL", { hasNoNames: true }, ["names-never"]],
  ["sshd: KNOWN", "ALL: ALL", { hasNoNames: true, followsNames: true }, ["names-never"]],
  ["sshd: host.example.org", "ALL: ALL", { hasNoNames: true, followsNames: true }, []],
];
for (const [allow, deny, knowing, codes] of gaps) {
  test(`"${allow}" and "${deny}" with ${JSON.stringify(Object.keys(knowing))}: ${codes.join(", ") || "nothing to say"}`, () => {
    const { diagnostics } = load(`${allow}\n`, `${deny}\n`, { noMatch: "allow", ...knowing });
    assert.deepEqual(
      diagnostics.map(({ code }) => code),
      codes,
    );
  });
}

const wholes: [allow: string, deny: string, daemons: string[], said: string][] = [
  ["", "", [], "a client that no rule names is let in"],
  ["sshd: 10.", "", [], '"sshd": a client that no rule names is let in'],
  [
    "",
    "",
    "a b c d e f".split(" "),
    '"a", "b", "c", "d", "e" and others: a client that no rule names is let in',
  ],
  ["", "", "a b c d e".split(" "), '"a", "b", "c", "d", "e": a client that no rule names is let in'],
  ["", "ALL: ALL", [], "every client is refused, for no rule lets anybody in"],
  ["", "ALL: ALL", ["mysqld"], '"mysqld": every client is refused, for no rule lets anybody in'],
];
for (const [allow, deny, daemons, said] of wholes) {
  test(`"${allow}" and "${deny}" for ${daemons.join(" ") || "whomever"}: ${said}`, () => {
    const { diagnostics } = load(`${allow}\n`, `${deny}\n`, {
      noMatch: "allow",
      ...(daemons.length > 0 && { daemons: { ...served, names: daemons } }),
    });
    assert.deepEqual(
      diagnostics.map(({ message }) => message),
      [said],
    );
    const hint = said.includes("let in")
      ? 'write "ALL: ALL" at the end of /deny, or access: {noMatch: refuse}'
      : `write for example "${daemons[0] ?? "sshd"}: 192.0.2." in /allow`;
    assert.equal(diagnostics[0]?.hint, hint);
  });
}

test("the words of a /file are read as those of a rule, with their own place", () => {
  const { diagnostics } = load(
    "sshd: /list\n",
    "ALL: ALL\n",
    {},
    { "/list": "10.0.0.1\n192.0.2 # the office\nx EXCEPT\n" },
  );
  assert.deepEqual(
    diagnostics.map((each) => print(each).replace(/: .*/, "")),
    ["/list:2:1 partial-address", "/list:2:9 inline-comment", "/list:3:3 list-except"],
  );
});

test("a rule that is said never to match never decides", () => {
  const pair = fc.record({ allow: table({}), deny: table({}) });
  const numRuns = 3000 * Number(process.env["FUZZ"] ?? 1);
  let told = 0;
  fc.assert(
    fc.property(pair, fc.array(question, { minLength: 10, maxLength: 20 }), ({ allow, deny }, questions) => {
      const { tables, diagnostics } = load(allow, deny, {});
      const places = new Set(
        diagnostics
          .filter(({ code }) => code === "rule-never-matches" || code === "rule-redundant")
          .map(({ file, line }) => `${file}:${line}`),
      );
      told += places.size;
      if (places.size === 0) return;
      for (const { daemon, clientName, clientAddr, user, serverName, serverAddr, serverPort } of questions) {
        const request: Request = {
          daemon,
          client: { address: clientAddr, name: clientName },
          server: { address: serverAddr, name: serverName, port: serverPort },
          user,
          commands: Array.from({ length: 20 }, () => "succeeded" as const),
        };
        const step = decide(tables, request);
        if (step.kind === "need" || step.rule === undefined) continue;
        assert.ok(!places.has(`${step.rule.file}:${step.rule.line}`), `${allow}\n--\n${deny}`);
      }
    }),
    { numRuns, seed: fuzzSeed },
  );
  assert.ok(told > numRuns / 30, `${told} rules were said to be dead`);
});

test("an error and a warning of a dead rule are grave, a matter of taste is not", () => {
  const grave = (code: string, severity = "warning"): boolean => isGrave({ code, severity });
  assert.deepEqual(
    [
      grave("host-bits-set"),
      grave("unknown-option", "error"),
      grave("missing-newline"),
      grave("no-such-code"),
    ],
    [true, true, false, false],
  );
});
