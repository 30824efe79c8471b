/** Paths whose bytes are no UTF-8 reach the kernel as they are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileName } from "../../src/access/text.ts";
import { shownPath, systemPath } from "../../src/platform/paths.ts";

const rows: [bytes: string, shown: string, because: string][] = [
  ["/etc/list", "/etc/list", "ASCII"],
  ["/caf\xc3\xa9", "/café", "UTF-8"],
  ["/\xf0\x90\x92\x80", "/\u{10480}", "a character whose second half looks like one of our bytes"],
  ["/\xef\xbf\xbd", "/\ufffd", "the replacement character itself"],
  ["/\xe4list", "/\ufffdlist", "Latin-1"],
  ["/\xc3\xa9\xe4", "/\ufffd\ufffd\ufffd", "both in one name"],
  ["/\x80\xff", "/\ufffd\ufffd", "the first and the last of them"],
];
for (const [bytes, shown, because] of rows)
  test(`${JSON.stringify(bytes)}: ${because}`, () => {
    const name = fileName(bytes);
    assert.equal(Buffer.from(systemPath(name)).toString("latin1"), bytes);
    assert.equal(shownPath(name), shown);
  });

test("what is joined to such a name is UTF-8", () => {
  const path = systemPath(`${fileName("/\xe4")}/\u{10480}`);
  assert.equal(Buffer.from(path).toString("latin1"), "/\xe4/\xf0\x90\x92\x80");
});
