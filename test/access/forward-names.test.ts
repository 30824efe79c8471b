/** Names of the tables that lead to a client's address by themselves (`names.forward`). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/access/decide.ts";
import { hostNames } from "../../src/access/host-names.ts";
import type { Tables } from "../../src/access/tables.ts";
import { loadTables } from "../../src/config/load.ts";

function tables(allow: string, list = ""): Tables {
  const texts: Record<string, string> = { allow, deny: "ALL: ALL\n", "/list": list };
  return loadTables({
    allow: "allow",
    deny: "deny",
    noMatch: "allow",
    read: (path) => ({ kind: "text", bytes: Buffer.from(texts[path] ?? "") }),
  }).tables;
}

/** The same tables without their index, so that every rule is asked. */
function unindexed({ allow, deny, lists, ...rest }: Tables): Tables {
  const plain = ({ file, rules }: Tables["allow"]): Tables["allow"] => ({ file, rules });
  const plainLists = [...lists].map(
    ([path, { patterns, leftOut }]) => [path, { patterns, leftOut }] as const,
  );
  return { ...rest, allow: plain(allow), deny: plain(deny), lists: new Map(plainLists) };
}

const rows: [allow: string, list: string, forwardNames: string[], verdict: string, because: string][] = [
  ["sshd: home.dyn.test\n", "", ["home.dyn.test"], "allow", "the name leads to the address"],
  ["sshd: Home.DYN.test\n", "", ["home.dyn.test"], "allow", "in whatever case it is written"],
  [
    "sshd: home.dyn.test\n",
    "",
    ["other.test"],
    "need",
    "another name does not: the reverse name is asked for",
  ],
  ["sshd: .dyn.test\n", "", ["home.dyn.test"], "need", "a suffix is no host, nobody has looked it up"],
  ["sshd: home.*.test\n", "", ["home.dyn.test"], "need", "nor is a pattern with wildcards"],
  ["sshd: ALL EXCEPT home.dyn.test\n", "", ["home.dyn.test"], "refuse", "an exception by name holds too"],
  ["sshd: /list\n", "home.dyn.test\n", ["home.dyn.test"], "allow", "in a file of patterns too"],
  [
    "sshd: 192.0.2.9, .x.test\nsshd: home.dyn.test\n",
    "",
    ["home.dyn.test"],
    "need",
    "an earlier rule that wants the name asks for it",
  ],
  ["ftpd: home.dyn.test\n", "", ["home.dyn.test"], "refuse", "the daemon must match as ever"],
];
for (const [allow, list, forwardNames, verdict, because] of rows) {
  test(`${JSON.stringify(allow)} and the forward names ${forwardNames.join(" ")}: ${because}`, () => {
    const request = {
      daemon: "sshd",
      client: { address: "192.0.2.7", forwardNames },
      server: { address: "unknown" },
    };
    const indexed = tables(allow, list);
    assert.equal(decide(indexed, request).kind, verdict);
    assert.equal(decide(unindexed(indexed), request).kind, verdict, "without the index");
  });
}

test("host names are those of both tables and of their files, whole names only", () => {
  const indexed = tables(
    "sshd: a.test, B.test EXCEPT c.test, .d.test, 192.0.2.7, UNKNOWN\nsshd: bob@e.test : deny\nsshd: /list\nsshd: g.test PARANOID\n",
    "f.test\n192.0.2.8\n",
  );
  const expected = ["a.test", "b.test", "c.test", "e.test", "f.test", "g.test"];
  assert.deepEqual([...hostNames(indexed)].sort(), expected);
  assert.deepEqual([...hostNames(unindexed(indexed))].sort(), expected);
});
