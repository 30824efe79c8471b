/** Tables as text again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { printTable } from "../../src/access/print.ts";
import { loadText } from "../support/load-text.ts";

const rows: [rule: string, printed: string, because: string][] = [
  ["sshd:ALL", "sshd : ALL", "one blank around the colon"],
  ["SSHD,  ftpd\t:\tHost.Test", "sshd ftpd : host.test", "lower case, one blank between words"],
  ["all: known, Local unknown", "ALL : KNOWN LOCAL unknown", "words that mean something in upper case"],
  ["sshd: ALL except a EXCEPT b", "sshd : ALL EXCEPT a EXCEPT b", "exceptions"],
  ["sshd: ALL EXCEPT", "sshd : ALL EXCEPT ", "an empty one"],
  [
    "+22@10.0.0.1: u@@g v@/file *@a?",
    "22@10.0.0.1 : u@@g v@/file *@a?",
    "ports, users, groups, files, wildcards",
  ],
  [
    "sshd: 10.0.0.0/8 0.0.2.0/0.0.255.0 1.2.3.4/32",
    "sshd : 10.0.0.0/255.0.0.0 0.0.2.0/0.0.255.0 1.2.3.4/32",
    "nets",
  ],
  ["sshd: [2001:DB8::]/32 [::1]", "sshd : [2001:db8:0:0:0:0:0:0]/32 [0:0:0:0:0:0:0:1]", "IPv6"],
  ["sshd: 10.0.0.1/99 [::/8]", "sshd : 0.0.0.0/0 []", "what can match nothing"],
  ["sshd: .a b. 10.", "sshd : .a b. 10.", "ends and starts"],
  ["KNOWN: KNOWN@ALL", "KNOWN : KNOWN@ALL", "KNOWN for daemons and users"],
  [
    "sshd: ALL: severity info :  allow ",
    "sshd : ALL : severity info :  allow ",
    "options as they were written",
  ],
  ["sshd: ALL:", "sshd : ALL :", "an empty option"],
  ["sshd: ALL \\", "sshd : ALL \\ ", "a blank behind what would join the next line"],
  ["a#\xef: ALL", "a#\xef : ALL", "none before what is neither"],
  [" #x: ALL", " #x : ALL", "and before what would be a comment"],
  [" \xef\xbb\xbfx: ALL", " \xef\xbb\xbfx : ALL", "or a byte-order mark"],
];
for (const [rule, printed, because] of rows) {
  test(`${JSON.stringify(rule)} is printed as ${JSON.stringify(printed)}: ${because}`, () => {
    const table = (text: string) => loadText(`${text}\n`, "").tables.allow;
    assert.equal(printTable(table(`${rule}${rule.endsWith("\\") ? "\\\n" : ""}`)), `${printed}\n`);
    assert.equal(printTable(table(printed)), `${printed}\n`);
  });
}

test("a table is printed rule by rule, without comments", () => {
  const { allow } = loadText("# x\nsshd: \\\n ALL\n\nftpd: LOCAL\n", "").tables;
  assert.equal(printTable(allow), "sshd : ALL\nftpd : LOCAL\n");
});
