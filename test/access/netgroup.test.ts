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
  ["# g (a.test,,)", "g", "a.test", false, "a comment"],
  ["# g (a.test,,)", "#", "a.test", true, "which the C library does not know"],
  [" g (a.test,,)", "g", "a.test", false, "a name begins in column 1"],
  ["g (a.test", "g", "a.test", false, "a triple without end is none"],
  ["g ( (a.test,,)", "g", "a.test", false, "and ends the line"],
  ["g (a.test) (b.test,,)", "g", "b.test", false, "as does one without commas"],
  ["g", "g", "a.test", false, "an empty group"],
  ["g\t(a.test,,)\th", "g", "a.test", true, "tabs part members"],
  ["g h(a.test,,)\nh (b.test,,)", "g", "a.test", false, "a bracket in a name is part of it"],
  ["g h(a.test,,)\nh (b.test,,)", "g", "b.test", false, "and so the name is another one"],
  ["g h) (a.test,,)", "g", "a.test", true, "a closing one too"],
  ["g (b.test,,)(a.test,,)", "g", "a.test", true, "triples need no blank between them"],
  ["g (b.test,,)h\nh (a.test,,)", "g", "a.test", true, "nor does a name after one"],
  ["g (a.test,a)b,)", "g", "a.test", true, "a bracket in a field is part of it"],
  ["g (a.test b,,)", "g", "a.test", true, "a field is its first word"],
  ["g\xa0h (a.test,,)", "g\xa0h", "a.test", true, "white space is that of the C locale"],
  ["g (\xc4.test,,)", "g", "\xe4.test", false, "and so is lower case"],
];
for (const [text, group, host, isIn, because] of rows) {
  test(`${JSON.stringify(text)}: ${because}`, () => {
    assert.equal(isInNetgroup(parseNetgroups(`${text}\n`), group, host), isIn);
  });
}

const domains: [triple: string, domain: string | undefined, isIn: boolean, because: string][] = [
  ["(a.test,,home)", "home", true, "our domain"],
  ["(a.test,,HOME)", "home", true, "in any case"],
  ["(a.test,, home )", "home", true, "with blanks around it"],
  ["(a.test,,other)", "home", false, "another one"],
  ["(a.test,-,-)", "home", false, "a dash is no domain"],
  ["(a.test,,)", "home", true, "a triple for every domain"],
  ["(a.test,,other)", undefined, true, "without a domain every triple counts"],
  ["(a.test,,other)", "", false, "an empty one is one"],
];
for (const [triple, domain, isIn, because] of domains) {
  test(`${triple} in the NIS domain ${domain ?? "(none)"}: ${because}`, () => {
    assert.equal(isInNetgroup(parseNetgroups(`g ${triple}\n`, domain), "g", "a.test"), isIn);
  });
}

test("twenty thousand groups in a row need no stack", () => {
  const lines = Array.from({ length: 20_000 }, (_, index) => `g${index} g${index + 1}\n`);
  const groups = parseNetgroups(`${lines.join("")}g20000 (a.test,,)\n`);
  assert.ok(isInNetgroup(groups, "g0", "a.test"));
});
