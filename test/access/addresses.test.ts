/** Numeric addresses as the C library reads them: inet_addr(3), inet_pton(3), getaddrinfo(3). */
import assert from "node:assert/strict";
import { isIPv6 } from "node:net";
import { test } from "node:test";
import { maskWord, parseIpv6, parseQuad, unwrapMapped } from "../../src/access/addresses.ts";

const quads: [text: string, value: number | undefined, because: string][] = [
  ["1.2.3.4", 0x01020304, "four parts"],
  ["0.0.0.0", 0, "the first"],
  ["255.255.255.254", 0xfffffffe, "the last but one"],
  ["255.255.255.255", undefined, "the last, which inet_addr(3) returns for errors"],
  ["256.0.0.1", undefined, "more than a byte"],
  ["1.2.256.4", undefined, "in the third"],
  ["1.2.3.256", undefined, "in the last"],
  ["1.2.3", undefined, "three runs"],
  ["1.2.3.4.5", undefined, "five"],
  ["", undefined, "none"],
  ["1..2.3.4", undefined, "an empty part"],
  [".1.2.3.4", undefined, "at the start"],
  ["1.2.3.4.", undefined, "at the end"],
  ["010.1.1.1", 0x08010101, "octal"],
  ["08.1.1.1", undefined, "that is none"],
  ["00.1.1.1", 0x00010101, "zeros"],
  ["0x1F.0XfF.1.1", 0x1fff0101, "hex"],
  ["0x.1.1.1", undefined, "without digits"],
  ["x1.1.1.1", undefined, "without zero"],
  ["1.1.1.0x1g", undefined, "junk behind hex"],
  ["1.1.1.10x1f", undefined, "and before it"],
  ["1.1.1.1:2", undefined, "a colon"],
  ["1.1.1.1/8", undefined, "a slash"],
  ["1.1.1.1%lo", undefined, "a scope"],
  ["1.1.1.1a", undefined, "and behind digits"],
  ["1.1.1.07a", undefined, "and behind octal"],
  ["1a.1.1.1", undefined, "within"],
  ["1.1.1.z", undefined, "letters"],
  ["-1.1.1.1", undefined, "a sign"],
  ["1.1.1.1 x", 0x01010101, "white space ends it"],
  ["1.1.1.1\v", 0x01010101, "of any kind"],
  ["10\f.0.0.0", 10, "even before its fourth part"],
  ["1.2\f.3.4", 0x01000002, "then the last one fills the rest"],
  ["1.16777215\f.0.0", 0x01ffffff, "up to its width"],
  ["1.16777216\f.0.0", undefined, "and no more"],
  ["4294967295\f.0.0.0", undefined, "but for the last address"],
  ["1.1.1.99999999999999999999", undefined, "beyond all numbers"],
];
for (const [text, value, because] of quads) {
  test(`quad ${JSON.stringify(text)}: ${because}`, () => assert.equal(parseQuad(text), value));
}

const ipv6: [text: string, words: [number, number, number, number] | undefined, because: string][] = [
  ["1:2:3:4:5:6:7:8", [0x10002, 0x30004, 0x50006, 0x70008], "eight groups"],
  ["::", [0, 0, 0, 0], "none"],
  ["::1", [0, 0, 0, 1], "a gap at the start"],
  ["1::", [0x10000, 0, 0, 0], "at the end"],
  ["1:2::7:8", [0x10002, 0, 0, 0x70008], "in the middle"],
  ["1:2:3:4:5:6:7::", [0x10002, 0x30004, 0x50006, 0x70000], "of one group"],
  ["::2:3:4:5:6:7:8", [2, 0x30004, 0x50006, 0x70008], "first"],
  ["fFfF:AbCd:09af::", [0xffffabcd, 0x09af0000, 0, 0], "hex in any case"],
  ["0001::", [0x10000, 0, 0, 0], "leading zeros"],
  ["::1.2.3.4", [0, 0, 0, 0x01020304], "a quad at the end"],
  ["1:2:3:4:5:6:255.255.255.255", [0x10002, 0x30004, 0x50006, 0xffffffff], "for two groups"],
  ["1:2:3:4:5::1.2.3.4", [0x10002, 0x30004, 0x50000, 0x01020304], "behind a gap"],
  [
    "1111:2222:3333:4444:5555:6666:255.255.255.255",
    [0x11112222, 0x33334444, 0x55556666, 0xffffffff],
    "the longest",
  ],
  ["1:2:3:4:5:6:7", undefined, "too few"],
  ["1:2:3:4:5:6:7:8:9", undefined, "too many"],
  ["::1:2:3:4:5:6:7:8:9", undefined, "behind a gap"],
  ["::1:2:3:4:5:6:7:1.2.3.4", undefined, "or with a quad"],
  ["1:2:3:4:5:6:7:8::", undefined, "and a gap of nothing"],
  ["::1:2:3:4:5:6:7:8", undefined, "at the start"],
  ["1::2::3", undefined, "two gaps"],
  ["::1::", undefined, "one of them first"],
  [":::", undefined, "three colons"],
  ["1:::2", undefined, "in the middle"],
  [":1:2:3:4:5:6:7", undefined, "a colon at the start"],
  [":12:3:4:5:6:7:8", undefined, "and seven groups"],
  ["1x2:3:4:5:6:7:8", undefined, "another letter than a colon"],
  ["1:2:3:4:5:6:7:", undefined, "at the end"],
  [":", undefined, "alone"],
  ["", undefined, "nothing"],
  ["1", undefined, "one group"],
  ["12345::", undefined, "five digits"],
  ["g::", undefined, "no hex"],
  ["`::", undefined, "just before a"],
  ["/::", undefined, "just before 0"],
  ["::G", undefined, "just behind f"],
  ["1 ::", undefined, "a blank"],
  ["1.2.3.4", undefined, "a quad alone"],
  ["::1.2.3", undefined, "three parts"],
  ["::1.2.3.4.5", undefined, "five"],
  ["::1.2.3.256", undefined, "too large a part"],
  ["::01.2.3.4", undefined, "a leading zero"],
  ["::1.2.3.4:5", undefined, "a group behind a quad"],
  ["1:2:3:4:5:6:7:1.2.3.4", undefined, "no room for a quad"],
  ["1:2:3:4:5:6:7:8:1.2.3.4", undefined, "none at all"],
  ["0".repeat(60), undefined, "too long for any"],
];
for (const [text, words, because] of ipv6) {
  test(`IPv6 ${JSON.stringify(text)}: ${because}`, () => {
    assert.deepEqual(parseIpv6(text, none), words);
    assert.equal(isIPv6(text), words !== undefined, "and Node thinks so too");
  });
}

const scopes: [text: string, isAddress: boolean, because: string][] = [
  ["fe80::1%lo", true, "an interface for a link-local address"],
  ["febf::1%lo", true, "up to the end of their net"],
  ["fec0::1%lo", false, "not beyond it"],
  ["ff02::1%lo", true, "for a multicast address on the link"],
  ["ff12::1%lo", true, "with flags"],
  ["ff05::1%lo", false, "not of a site"],
  ["2001:db8::1%lo", false, "nor for any other"],
  ["fe80::1%eth9", false, "one that is not there"],
  ["fe80::1%", false, "one without name"],
  ["fe80::1%4294967295", true, "a number of 32 bits"],
  ["fe80::1%4294967296", false, "not of more"],
  ["2001:db8::1%7", true, "a number for any address"],
  ["2001:db8::1%7x", false, "and nothing behind it"],
  ["2001:db8::1%x7", false, "or before it"],
  ["2001:db8::1%00000000007", false, "not endless"],
  ["x%lo", false, "no address"],
  ["%lo", false, "nothing"],
];
for (const [text, isAddress, because] of scopes) {
  test(`scope ${text}: ${because}`, () => {
    const address = parseIpv6(text, (name) => name === "lo");
    assert.deepEqual(address, isAddress ? parseIpv6(text.replace(/%.*/, ""), none) : undefined);
  });
}

test("a scope without name is none, even where every interface is taken to be there", () => {
  assert.equal(
    parseIpv6("fe80::1%", () => true),
    undefined,
  );
});

const mapped: [text: string, unwrapped: string][] = [
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["::FFFF:192.0.2.1", "192.0.2.1"],
  ["::ffff:1.2.3.4", "1.2.3.4"],
  ["::ffff:c000:201", "::ffff:c000:201"],
  ["::ffff:1.2.3", "::ffff:1.2.3"],
  ["::fffe:1.2.3.4", "::fffe:1.2.3.4"],
  ["::ffff:255.255.255.255", "::ffff:255.255.255.255"],
  ["x::ffff:1.2.3.4", "x::ffff:1.2.3.4"],
  ["192.0.2.1", "192.0.2.1"],
  ["::1", "::1"],
  ["", ""],
];
for (const [text, unwrapped] of mapped) {
  test(`${text} without its mapping is ${unwrapped}`, () => assert.equal(unwrapMapped(text), unwrapped));
}

test("maskWord gives the words of a prefix", () => {
  const words = (bits: number): string =>
    [0, 1, 2, 3].map((index) => maskWord(bits, index).toString(16)).join(" ");
  assert.deepEqual([0, 1, 31, 32, 33, 64, 127, 128].map(words), [
    "0 0 0 0",
    "80000000 0 0 0",
    "fffffffe 0 0 0",
    "ffffffff 0 0 0",
    "ffffffff 80000000 0 0",
    "ffffffff ffffffff 0 0",
    "ffffffff ffffffff ffffffff fffffffe",
    "ffffffff ffffffff ffffffff ffffffff",
  ]);
});

function none(): boolean {
  return false;
}
