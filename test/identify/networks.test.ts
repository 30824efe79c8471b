import assert from "node:assert/strict";
import { test } from "node:test";
import { parseNetworks } from "../../src/identify/networks.ts";

const rows: [networks: string[], address: string, isIn: boolean, because: string][] = [
  [["10.0.0.0/8"], "10.255.0.1", true, "inside"],
  [["10.0.0.0/8"], "11.0.0.1", false, "outside"],
  [["10.0.0.0/8"], "::ffff:10.0.0.1", true, "an IPv4-mapped peer is IPv4"],
  [["10.0.0.1"], "10.0.0.1", true, "one address"],
  [["10.0.0.1"], "10.0.0.2", false, "another one"],
  [["192.0.2.128/25"], "192.0.2.200", true, "any length"],
  [["192.0.2.128/25"], "192.0.2.1", false, "any length"],
  [["0.0.0.0/0"], "203.0.113.1", true, "all of IPv4"],
  [["0.0.0.0/0"], "2001:db8::1", false, "but not IPv6"],
  [["fd00::/8"], "fd12::1", true, "IPv6"],
  [["fd00::/8"], "fe80::1", false, "IPv6 outside"],
  [["fe80::/10"], "fe80::1%eth0", true, "a zone does not count"],
  [["2001:db8::1", "10.0.0.0/8"], "10.1.1.1", true, "one of several"],
  [["::/0"], "10.0.0.1", false, "IPv4 is not in IPv6"],
  [["unix"], "localhost", true, "unix-socket peers by their word"],
  [["0.0.0.0/0", "::/0"], "localhost", false, "and by no network"],
  [["0.0.0.0/0", "::/0"], "unknown", false, "a peer without an address is in none"],
  [[], "127.0.0.1", false, "an empty list holds nobody"],
];
for (const [texts, address, isIn, because] of rows) {
  test(`${address} is ${isIn ? "" : "not "}in [${texts.join(", ")}]: ${because}`, () => {
    const { networks, problems } = parseNetworks(texts);
    assert.deepEqual(problems, []);
    assert.equal(networks.has(address), isIn);
  });
}

const problems: [text: string, message: string, hint?: string][] = [
  ["10.1.2.3/8", '"10.1.2.3/8" has bits set below the mask', 'write "10.0.0.0/8"'],
  ["192.0.2.129/25", '"192.0.2.129/25" has bits set below the mask', 'write "192.0.2.128/25"'],
  ["fd00::1/8", '"fd00::1/8" has bits set below the mask', 'write "fd00::/8"'],
  ["10.0.0.0/33", '"10.0.0.0/33" has no length between 0 and 32'],
  ["fd00::/129", '"fd00::/129" has no length between 0 and 128'],
  ["10.0.0.0/", '"10.0.0.0/" has no length between 0 and 32'],
  ["10.0.0.0/255.0.0.0", '"10.0.0.0/255.0.0.0" has no length between 0 and 32'],
  ["10.0.0/8", '"10.0.0/8" is no network', 'write "10.0.0.0/8", "fd00::/8" or one address'],
  ["lb.example", '"lb.example" is no network', 'write "10.0.0.0/8", "fd00::/8" or one address'],
  ["10.0.0.0/8/9", '"10.0.0.0/8/9" is no network', 'write "10.0.0.0/8", "fd00::/8" or one address'],
  ["", '"" is no network', 'write "10.0.0.0/8", "fd00::/8" or one address'],
];
for (const [text, message, hint] of problems) {
  test(`parseNetworks says what is wrong with "${text}", and takes the others`, () => {
    const parsed = parseNetworks([text, "192.0.2.0/24"]);
    assert.deepEqual(parsed.problems, [{ text, message, ...(hint !== undefined && { hint }) }]);
    assert.ok(parsed.networks.has("192.0.2.1"));
  });
}
