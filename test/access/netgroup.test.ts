/** netgroup(5). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isInNetgroup, parseNetgroups } from "../../src/access/netgroup.ts";

const rows: [text: string, group: string, host: string, isIn: boolean, because: string][] = [
  ["g (a.test,,)", "g", "a.test", true, "a triple"],
  ["g ( A.test , x , y ) (b.test,,)", "g", "a.test", true, "blanks in it and capitals do not matter"],
  ["g ( A.test , x , y ) (b.test,,)", "g", "b.test", true, "several triples"],
  ["g (a.test,b.test,c.test)", "g", "b.test", false, "users and domains are no hosts"],
  ["g (a.test,,)", "g", "", false, "an empty name is no member"],
  ["g (a.test,,)", "ga", "a.test", false, "another group"],
  ["g (,,)", "g", "unknown", true, "no host is every host"],
  ["g (,bob,)", "g", "a.test", true, "whatever the user"],
  ["g (-,,)", "g", "a.test", false, "a dash is nobody"],
  ["g h\nh (a.test,,)", "g", "a.test", true, "a group in a group"],
  ["g h i\ni (a.test,,)", "g", "a.test", true, "one that is missing does no harm"],
  ["g h\nh g (a.test,,)", "h", "a.test", true, "a circle"],
  ["g h\nh g", "g", "a.test", false, "that holds nobody"],
  ["g \\\n(a.test,,)", "g", "a.test", true, "a line that goes on"],
  ["g\\\n(a.test,,)", "g", "a.test", true, "and parts words there"],
  ["g (a.test,,)\ng (b.test,,)", "g", "b.test", false, "the first line of a name counts"],
  ["# g (a.test,,)", "#", "a.test", false, "a comment"],
  [" g (a.test,,)", "g", "a.test", false, "a name begins in column 1"],
  ["g (a.test", "g", "a.test", false, "a triple without end is none"],
  ["g ( (a.test,,)", "g", "a.test", false, "and ends the line"],
  ["g (a.test) (b.test,,)", "g", "b.test", false, "as does one without commas"],
  ["g", "g", "a.test", false, "an empty group"],
  ["g\t(a.test,,)\th", "g", "a.test", true, "tabs part members"],
];
for (const [text, group, host, isIn, because] of rows) {
  test(`${JSON.stringify(text)}: ${because}`, () => {
    assert.equal(isInNetgroup(parseNetgroups(`${text}\n`), group, host), isIn);
  });
}

test("twenty thousand groups in a row need no stack", () => {
  const lines = Array.from({ length: 20_000 }, (_, index) => `g${index} g${index + 1}\n`);
  const groups = parseNetgroups(`${lines.join("")}g20000 (a.test,,)\n`);
  assert.ok(isInNetgroup(groups, "g0", "a.test"));
});
