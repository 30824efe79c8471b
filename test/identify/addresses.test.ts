import assert from "node:assert/strict";
import { test } from "node:test";
import { looksNumeric, parseAddress, reverseQuestion, scopeOf } from "../../src/identify/addresses.ts";

const spellings: [text: string, canonical: string | undefined, because: string][] = [
  ["192.0.2.1", "192.0.2.1", "IPv4 has one spelling"],
  ["192.0.2.01", undefined, "a leading zero would be octal to some and decimal to others"],
  ["192.0.2", undefined, "short forms are not what a socket gives"],
  ["2001:DB8:0:0:0:0:0:1", "2001:db8::1", "IPv6 is lower case and compressed"],
  ["::ffff:192.0.2.1", "192.0.2.1", "an IPv4-mapped address is the IPv4 address in it"],
  ["::FFFF:c000:201", "192.0.2.1", "however it is spelled"],
  ["::192.0.2.1", "::192.0.2.1", "an IPv4-compatible address is IPv6"],
  ["fe80::1%eth0", "fe80::1%eth0", "a link-local address keeps its zone"],
  ["fe80::1%", undefined, "an empty zone is no zone"],
  ["192.0.2.1%eth0", undefined, "IPv4 has no zones"],
  ["unknown", undefined, "words are no addresses"],
  ["", undefined, "nothing is no address"],
];
for (const [text, canonical, because] of spellings) {
  test(`parseAddress "${text}": ${because}`, () => {
    const address = parseAddress(text);
    const shown = address && (address.zone === undefined ? address.text : `${address.text}%${address.zone}`);
    assert.equal(shown, canonical);
  });
}

const questions: [address: string, question: string][] = [
  ["192.0.2.1", "1.2.0.192.in-addr.arpa"],
  ["::ffff:192.0.2.1", "1.2.0.192.in-addr.arpa"],
  ["2001:db8::567:89ab", "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"],
  ["::1", `1.${"0.".repeat(31)}ip6.arpa`],
  ["::", `0.${"0.".repeat(31)}ip6.arpa`],
  ["::192.0.2.1", `1.0.2.0.0.0.0.c.${"0.".repeat(24)}ip6.arpa`],
  ["fe80::1%eth0", `1.${"0.".repeat(28)}8.e.f.ip6.arpa`],
  ["1:2:3:4:5:6:7:8", "8.0.0.0.7.0.0.0.6.0.0.0.5.0.0.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.ip6.arpa"],
];
for (const [address, question] of questions) {
  test(`reverseQuestion of ${address} is its PTR name`, () => {
    const parsed = parseAddress(address);
    assert.ok(parsed);
    assert.equal(reverseQuestion(parsed), question);
  });
}

const numbers: [text: string, numeric: boolean, because: string][] = [
  ["1.2.3.4", true, "four parts"],
  ["1.2.3", true, "the last part fills two bytes"],
  ["10", true, "one part fills four bytes"],
  ["0x7f.1", true, "hexadecimal parts count"],
  ["0177.0.0.1", true, "octal parts count"],
  ["08.0.0.1", false, "8 is no octal digit"],
  ["256.1", false, "a part before the last is one byte"],
  ["1.2.65536", false, "the last of three is two bytes"],
  ["1.2.65535", true, "and holds their largest value"],
  ["4294967295", true, "the largest of one part"],
  ["4294967296", false, "and one more"],
  ["1.2.3.4.5", false, "five parts are a name"],
  ["1.2.3.host", false, "a word is a name"],
  ["::1", true, "IPv6 is numeric"],
];
for (const [text, numeric, because] of numbers) {
  test(`looksNumeric "${text}" is ${numeric}: ${because}`, () => assert.equal(looksNumeric(text), numeric));
}

const scopes: [address: string, scope: string][] = [
  ["0.0.0.0", "unspecified"],
  ["::", "unspecified"],
  ["::ffff:0.0.0.0", "unspecified"],
  ["127.255.255.254", "loopback"],
  ["::1", "loopback"],
  ["::ffff:127.0.0.1", "loopback"],
  ["224.0.0.1", "multicast"],
  ["239.255.255.255", "multicast"],
  ["255.255.255.255", "multicast"],
  ["ff02::1", "multicast"],
  ["ff::1", "other"],
  ["192.0.2.1", "other"],
  ["2001:db8::1", "other"],
];
for (const [address, scope] of scopes) {
  test(`scopeOf ${address} is ${scope}`, () => {
    const parsed = parseAddress(address);
    assert.ok(parsed);
    assert.equal(scopeOf(parsed), scope);
  });
}
