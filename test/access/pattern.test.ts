/** Each kind of pattern, as hosts_access(5) describes it and tcpd reads it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "../../src/access/decide.ts";
import { matchGlob } from "../../src/access/pattern.ts";
import { loadText } from "../support/load-text.ts";

type Row = [pattern: string, client: string, matches: boolean, because: string];

/** Clients are `address`, or `name/address`. */
const clients: Row[] = [
  ["ALL", "192.0.2.1", true, "ALL matches"],
  ["all", "unknown/unknown", true, "even what nobody knows"],
  ["LOCAL", "host/192.0.2.1", true, "a name without dot is local"],
  ["LOCAL", "host.test/192.0.2.1", false, "one with a dot is not"],
  ["local", "unknown/192.0.2.1", false, "unknown has no dot but is no name"],
  ["LOCAL", "paranoid/192.0.2.1", false, "nor is paranoid"],
  ["KNOWN", "host.test/192.0.2.1", true, "name and address are known"],
  ["known", "unknown/192.0.2.1", false, "the name is not"],
  ["KNOWN", "paranoid/192.0.2.1", false, "a name that leads elsewhere is not"],
  ["KNOWN", "host.test/unknown", false, "the address is not"],
  ["UNKNOWN", "unknown/192.0.2.1", true, "the reserved name is a string like any other"],
  ["unknown", "paranoid/192.0.2.1", false, "and paranoid another"],
  ["PARANOID", "paranoid/192.0.2.1", true, "which can be named too"],
  [".example.com", "www.example.com/192.0.2.1", true, "a leading dot matches the end of a name"],
  [".example.com", "example.com/192.0.2.1", false, "the dot itself must be there"],
  [".EXAMPLE.com", "www.example.COM/192.0.2.1", true, "case does not count"],
  [".com", "www.example.com/192.0.2.1", true, "any number of labels"],
  [".xample.com", "www.example.com/192.0.2.1", false, "whole labels only"],
  [".2.10", "unknown/192.0.2.10", true, "a suffix fits addresses as well"],
  [".2.10", "a.2.10/192.0.2.1", false, "but one of digits is never compared with a name"],
  ["client.", "client.test/192.0.2.1", true, "a trailing dot matches the start of a name"],
  ["192.0.2.", "192.0.2.77", true, "and the first fields of an address"],
  ["192.0.2.", "192.0.20.7", false, "whole fields"],
  ["192.0.2.", "192.0.2.evil.test/203.0.113.9", false, "digits are never compared with names"],
  ["10.", "10.1.2.3", true, "one field"],
  ["1.", "10.1.2.3", false, "the dot counts"],
  ["0.", "0.1.2.3", true, "field zero"],
  ["010.", "10.1.2.3", false, "as text, so no leading zero"],
  ["256.", "unknown/256.1.2.3", true, "even where it is no address"],
  ["1.2.3.4.", "1.2.3.4", false, "a whole address with a dot never matches"],
  ["192.0.2", "192.0.2.1", false, "without dot it is a whole address"],
  ["192.0.2.10", "192.0.2.10", true, "an address"],
  ["192.0.2.10", "192.0.2.100", false, "whole"],
  ["192.0.2.010", "192.0.2.10", false, "text is compared"],
  ["255.255.255.255", "255.255.255.255", true, "even the one that inet_addr cannot tell from an error"],
  ["0.0.0.0", "0.0.0.0", true, "and the first one"],
  ["10", "10/192.0.2.1", false, "digits are no name"],
  ["1e", "1e/192.0.2.1", true, "one letter makes it one"],
  ["host", "host/192.0.2.1", true, "a name"],
  ["Host.Test", "hOST.tEST/192.0.2.1", true, "in any case"],
  ["host.test", "host.test.x/192.0.2.1", false, "whole"],
  ["a_b-c.test", "a_b-c.test/192.0.2.1", true, "with - and _"],
  ["h\xe9.test", "h\xe9.test/192.0.2.1", false, "a table's byte is not a character"],
  ["192.0.2.0/24", "192.0.2.1", true, "a net by its length"],
  ["192.0.2.0/24", "192.0.3.1", false, "not outside"],
  ["192.0.2.10/24", "192.0.2.10", false, "bits below the mask are dead"],
  ["192.0.2.10/32", "192.0.2.10", true, "one host"],
  ["128.0.0.0/1", "200.1.2.3", true, "one bit"],
  ["0.0.0.0/0", "192.0.2.1", false, "length 0 is none"],
  ["0.0.0.0/33", "192.0.2.1", false, "nor is 33"],
  ["0.0.0.0/0.0.0.0", "192.0.2.1", true, "but a written mask of zeros is one"],
  ["192.0.2.0/255.255.255.0", "192.0.2.1", true, "a written mask"],
  ["192.0.2.10/255.255.255.255", "192.0.2.10", false, "except all ones"],
  ["0.0.2.0/0.0.255.0", "192.0.2.1", true, "with holes"],
  ["0.0.2.0/0.0.255.0", "192.0.3.1", false, "that count"],
  ["192.0.2.0/24x", "192.0.2.1", true, "junk behind a length is not read"],
  ["192.0.2.0/x", "192.0.2.1", false, "no digits are length 0"],
  ["192.0.2.0/+24", "192.0.2.1", true, "a sign is"],
  ["010.0.0.0/8", "8.1.2.3", true, "a leading zero means octal"],
  ["0xa.0.0.0/8", "10.1.2.3", true, "0x hex"],
  ["08.0.0.0/8", "8.1.2.3", false, "08 is nothing"],
  ["10.0.0/24", "10.0.0.1", false, "four parts"],
  ["0.0.0.0/0.0.0.0", "2001:db8::1", false, "an IPv4 net holds no IPv6 address"],
  ["255.255.255.255/32", "255.255.255.255", false, "the broadcast address is in no net"],
  ["[2001:db8::]/32", "2001:db8::7", true, "an IPv6 net"],
  ["[2001:db8::7]/32", "2001:db8::1", true, "whose host bits do not matter"],
  ["[2001:db8::]/33", "2001:db8:8000::1", false, "to the bit"],
  ["[2001:db8::]/", "fe80::1", true, "no length is length 0: everyone"],
  ["[2001:db8::]/129", "2001:db8::1", false, "too long is nothing"],
  ["[2001:db8::1]/129", "2001:db8::1", false, "even of the very address"],
  ["[2001:db8::]/-1", "2001:db8::1", false, "nor is less than 0"],
  ["[fe80::]/10", "fe80::1%nosuch", true, "an address of any interface is in it"],
  ["[2001:db8::1]", "2001:db8::1/192.0.2.1", true, "a name that reads as the address"],
  ["[2001:db8::1]", "2001:DB8::1/192.0.2.1", true, "in any case"],
  ["host]", "host]/192.0.2.1", true, "a bracket that closes nothing is a letter"],
  [".example", ".example/192.0.2.1", false, "an end needs something before it"],
  ["[::]/0", "192.0.2.1", false, "an IPv6 net holds no IPv4 address"],
  ["[::ffff:0:0]/96", "::ffff:192.0.2.1", false, "mapped ones are IPv4"],
  ["192.0.2.0/24", "::ffff:192.0.2.1", true, "so an IPv4 net holds them"],
  ["192.0.2.1", "::FFFF:192.0.2.1", true, "as text too"],
  ["192.0.2.1", "::ffff:c000:201", false, "only in their dotted form"],
  ["[2001:DB8:0::1]", "2001:db8::1", true, "one IPv6 address in any spelling"],
  ["[2001:db8::1]", "2001:db8::2", false, "and no other"],
  ["[2001:db8::/32]", "2001:db8::1", false, "a length inside brackets is dead"],
  ["[192.0.2.1]", "192.0.2.1", false, "no IPv4 in brackets"],
  ["[fe80::1%lo]", "fe80::1", true, "the scope of a pattern must exist and is not compared"],
  ["[fe80::1%nosuch]", "fe80::1", false, "it does not"],
  ["[fe80::1%7]", "fe80::1%lo", true, "a number always does"],
  ["[fe80::1%4294967296]", "fe80::1", false, "up to 32 bits"],
  ["[2001:db8::1%lo]", "2001:db8::1", false, "a name only for a link-local address"],
  ["[ff02::1%lo]", "ff02::1", true, "multicast on the link is one"],
  ["*.example.com", "a.b.example.com/192.0.2.1", true, "a star is any run"],
  ["*.example.com", "example.com/192.0.2.1", false, "the rest must be there"],
  ["192.0.?.1", "192.0.2.1", true, "a question mark is one character"],
  ["192.0.?.1", "192.0.22.1", false, "not two"],
  ["192.0.2.*", "192.0.2.evil.test/203.0.113.9", true, "with wildcards digits are compared with names"],
  ["client**", "client/192.0.2.1", false, "two stars at the end want a character"],
  ["client**", "clientx/192.0.2.1", true, "one"],
  ["*", "unknown/unknown", true, "the reserved values are visible"],
  [".exam*", "www.example/192.0.2.1", false, "with a wildcard a leading dot is a dot"],
  ["2001?db8?*", "2001:db8::1", true, "? may stand for :"],
  ["[*]", "2001:db8::1", false, "and [ for itself"],
  ["!10.0.0.1", "192.0.2.1", false, "there is no negation"],
  ["@trusted", "host.test/192.0.2.1", true, "a netgroup holds names"],
  ["@TRUSTED", "host.test/192.0.2.1", false, "groups by their exact name"],
  ["@nobody", "host.test/192.0.2.1", false, "an empty group holds nobody"],
  ["@anyone", "unknown/192.0.2.1", true, "a triple without host everybody"],
  ["@outer", "host.test/192.0.2.1", true, "groups hold groups"],
  ["@missing", "host.test/192.0.2.1", false, "a group that is not there nobody"],
  ["@", "host.test/192.0.2.1", false, "nor has a group no name"],
  ["bob@ALL", "192.0.2.1", true, "the user is asked about the client"],
  ["BOB@192.0.2.1", "192.0.2.1", true, "in any case"],
  ["root@ALL", "192.0.2.1", false, "another one"],
  ["bob@192.0.2.2", "192.0.2.1", false, "another host"],
  ["bob@", "192.0.2.1", false, "no host"],
  ["KNOWN@ALL", "192.0.2.1", true, "bob is known"],
  ["LOCAL@ALL", "192.0.2.1", false, "LOCAL is no word for users"],
  ["b?b@ALL", "192.0.2.1", true, "wildcards are"],
  ["bob@@trusted", "host.test/192.0.2.1", true, "a netgroup as host"],
  ["bob@ALL@x", "192.0.2.1", false, "split at the first @"],
];
const netgroup =
  "trusted (host.test,,) (-,x,y)\nanyone (,bob,)\nouter \\\n trusted outer\nnobody\n#no (,,)\n";
for (const [pattern, client, matches, because] of clients) {
  test(`client ${pattern} on ${client}: ${because}`, () => {
    assert.equal(isAllowed(`sshd: ${pattern}`, client), matches);
    // Behind another word and in an EXCEPT it means the same, though no index holds it.
    assert.equal(isAllowed(`sshd: 203.0.113.200, ${pattern}`, client), matches);
    assert.equal(isAllowed(`sshd: ALL EXCEPT ${pattern}`, client), !matches);
  });
}

/** Asked of the service sshd at 198.51.100.1 port 8080. */
const daemons: [pattern: string, matches: boolean, because: string][] = [
  ["sshd", true, "a name"],
  ["SSHD", true, "in any case"],
  ["ssh", false, "whole"],
  ["ss*", true, "wildcards"],
  ["ALL", true, "ALL"],
  ["KNOWN", true, "KNOWN is any name but unknown"],
  ["LOCAL", false, "LOCAL is a name"],
  ["8080", true, "digits are the local port"],
  ["+8080", true, "with a sign"],
  ["4294975376", true, "modulo 2^32"],
  ["22", false, "another port"],
  ["70000", false, "too large for a port is a name"],
  ["8080x", false, "so is a mixture"],
  ["8080-8090", false, "there are no ranges"],
  ["sshd@198.51.100.1", true, "the address that the client reached"],
  ["sshd@198.51.100.2", false, "another one"],
  ["8080@198.51.100.0/24", true, "with a port, with a net"],
  ["ftpd@ALL", false, "both sides must match"],
  ["sshd@", false, "an empty right side never does"],
  ["sshd@.server.test", true, "the name of the server"],
  ["@x", false, "without left side it is a name"],
];
for (const [pattern, matches, because] of daemons) {
  test(`daemon ${pattern}: ${because}`, () => {
    assert.equal(isAllowed(`${pattern}: ALL`, "192.0.2.1"), matches);
    assert.equal(isAllowed(`ALL EXCEPT ${pattern}: ALL`, "192.0.2.1"), !matches);
  });
}

const lists: [list: string, matches: boolean, because: string][] = [
  ["10.0.0.1 192.0.2.1", true, "any word will do"],
  [",,10.0.0.1,\t192.0.2.1\r", true, "commas, tabs and CR separate"],
  ["10.0.0.1;192.0.2.1", false, "semicolons do not"],
  ["ALL EXCEPT 192.0.2.1", false, "EXCEPT takes away"],
  ["ALL except 10.0.0.1", true, "only what it names"],
  ["ALL EXCEPT 192.0.2. EXCEPT 192.0.2.1", true, "it leans to the right"],
  ["ALL EXCEPT ALL EXCEPT ALL EXCEPT 192.0.2.1", false, "three times"],
  ["EXCEPT 10.0.0.1", false, "nothing to take from"],
  ["ALL EXCEPT", true, "nothing to take away"],
  ["ALL EXCEPT EXCEPT 192.0.2.1", true, "an empty middle matches nothing"],
  ["10.0.0.1 EXCEPT 10.0.0.1 192.0.2.1", false, "all after EXCEPT belongs to it"],
  ["", false, "an empty list matches nobody"],
];
for (const [list, matches, because] of lists) {
  test(`list "${list}": ${because}`, () => {
    assert.equal(isAllowed(`sshd: ${list}`, "192.0.2.1"), matches);
  });
}

test("a list of twenty thousand EXCEPT needs no stack", () => {
  assert.equal(isAllowed(`sshd: ALL${" EXCEPT ALL".repeat(20_000)}`, "192.0.2.1"), true);
  assert.equal(isAllowed(`sshd: ALL${" EXCEPT ALL".repeat(19_999)}`, "192.0.2.1"), false);
});

/** By the product of the lengths each would take minutes, by their power for ever. */
const long = 200_000;
const many: [because: string, pattern: string, text: string, matches: boolean][] = [
  ["many stars that all find something", "*a".repeat(long), "a".repeat(long), true],
  ["and nothing for what is behind them", `${"*a".repeat(long)}b`, "a".repeat(2 * long), false],
  ["many stars and marks", "*?".repeat(long), "a".repeat(long), true],
  ["one character too few", "*?".repeat(long), "a".repeat(long - 1), false],
  ["a long end behind the only star", `*${"a".repeat(long)}b`, "a".repeat(2 * long), false],
  ["an end that the text has no room for", `a*${"?".repeat(long)}`, "a".repeat(long), false],
];
for (const [because, pattern, text, matches] of many)
  test(`L4: matchGlob takes linear time: ${because}`, { timeout: 30_000 }, () => {
    assert.equal(matchGlob(pattern, text), matches);
  });

test(
  "L4: a hundred thousand hostile patterns against the longest name are no more than that",
  { timeout: 60_000 },
  () => {
    const pattern = `${"*a".repeat(120)}b*`;
    const { tables } = loadText(`sshd: ${`${pattern} `.repeat(4000)}\n`, "");
    const name = "a".repeat(253);
    for (let times = 0; times < 25; times++) {
      const client = { address: "192.0.2.1", name };
      assert.equal(
        decide(tables, { daemon: "sshd", client, server: { address: "192.0.2.2" } }).kind,
        "allow",
      );
    }
  },
);

test("matchGlob says what a regular expression says, for all short patterns and texts", () => {
  const all = (letters: string, most: number): string[] =>
    most === 0
      ? [""]
      : ["", ...all(letters, most - 1).flatMap((end) => letters.split("").map((one) => one + end))];
  const texts = [...new Set(all("ab", 5))];
  for (const pattern of new Set(all("ab*?", 5))) {
    const naive = new RegExp(`^${pattern.replaceAll("?", ".").replaceAll("*", ".*")}$`);
    for (const text of texts) assert.equal(matchGlob(pattern, text), naive.test(text), `${pattern} ${text}`);
  }
});

function isAllowed(rule: string, client: string): boolean {
  const [name, address] = client.includes("/") ? client.split("/") : ["unknown", client];
  const { tables } = loadText(`${rule}\n`, "ALL: ALL\n", { "/etc/netgroup": netgroup });
  const step = decide(tables, {
    daemon: "sshd",
    client: { address: address ?? "", name: name ?? "" },
    server: { address: "198.51.100.1", name: "a.server.test", port: 8080 },
    user: "bob",
  });
  assert.notEqual(step.kind, "need");
  return step.kind === "allow";
}
