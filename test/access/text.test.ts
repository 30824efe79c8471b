/** Strings of bytes: what the texts of a table are made of. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  asBytes,
  byteString,
  cutFact,
  fileName,
  indexOutsideBrackets,
  isSpace,
  lowerCase,
  readable,
  shorten,
} from "../../src/access/text.ts";

test("the bytes between two places become as many characters, however many they are", () => {
  const bytes = Uint8Array.from({ length: 300_000 }, (_, at) => (at * 7) % 256);
  for (const length of [0, 1, 7, 8, 9, 15, 16, 17, 47, 48, 49, 56, 8191, 8192, 8193, 20_000, 299_990]) {
    for (const start of [0, 3]) {
      const text = byteString(bytes, start, start + length);
      assert.equal(text, Buffer.from(bytes.subarray(start, start + length)).toString("latin1"), `${length}`);
    }
  }
});

const spellings: [bytes: string, text: string, because: string][] = [
  ["sshd: ALL", "sshd: ALL", "ASCII is what it is"],
  ["\x7f", "\x7f", "up to its last character"],
  ["\xc2\x80", "\u0080", "the first beyond it has two bytes"],
  ["caf\xc3\xa9.test", "café.test", "UTF-8"],
  ["\xe2\x82\xac\xf0\x9f\x98\x80", "€😀", "of any length"],
];
for (const [bytes, text, because] of spellings) {
  test(`${JSON.stringify(bytes)} reads ${JSON.stringify(text)}: ${because}`, () => {
    assert.equal(readable(bytes), text);
    assert.equal(asBytes(text), bytes);
  });
}

test("bytes that are no UTF-8 are replaced where people read them", () => {
  assert.equal(readable("a\xffb"), "a\ufffdb");
  assert.equal(readable("\xe9"), "\ufffd");
});

test("two names of files are never one, whatever their bytes", () => {
  const names = ["/a", "/caf\xc3\xa9", "/\xe4", "/\xe5", "/\xef\xbf\xbd", "/\xc3\xa9\xe4", "/\xed\xb3\xa4"];
  assert.equal(new Set(names.map(fileName)).size, names.length);
  assert.deepEqual(names.slice(0, 3).map(fileName), ["/a", "/café", "/\udce4"]);
});

const facts: [fact: string, cut: string, because: string][] = [
  ["n".repeat(127), "n".repeat(127), "what fits is left as it is"],
  ["n".repeat(128), "n".repeat(127), "what does not is cut"],
  [`${"n".repeat(125)}é`, `${"n".repeat(125)}é`, "bytes count"],
  [`${"n".repeat(126)}é`, "n".repeat(126), "and no half character is left"],
];
for (const [fact, cut, because] of facts)
  test(`a fact of ${Buffer.byteLength(fact)} bytes: ${because}`, () => assert.equal(cutFact(fact), cut));

test("lower case is that of A to Z, as in the C locale", () => {
  const bytes = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join("");
  const inC = Array.from(bytes, (char) => (/[A-Z]/.test(char) ? char.toLowerCase() : char)).join("");
  assert.equal(lowerCase(bytes), inC);
  for (const [text, lower] of [
    ["A", "a"],
    ["Z", "z"],
    ["@[`{", "@[`{"],
    ["hosT.TEST-9", "host.test-9"],
    ["\xc9\u212a", "\xc9\u212a"],
    ["", ""],
  ] as const) {
    assert.equal(lowerCase(text), lower);
  }
});

test("white space is that of isspace(3) in the C locale", () => {
  const spaces = Array.from({ length: 256 }, (_, code) => code).filter(isSpace);
  assert.deepEqual(spaces, [9, 10, 11, 12, 13, 32]);
});

const searches: [text: string, from: number, at: number, because: string][] = [
  ["a:b", 0, 1, "where it stands"],
  [":", 0, 0, "at the start"],
  ["ab", 0, -1, "nowhere"],
  ["a:b:c", 2, 3, "from a place on"],
  ["a:b", 2, -1, "and not before it"],
  ["[a:b]:c", 0, 5, "outside brackets"],
  ["[a:b", 0, -1, "which may stay open"],
  ["[[a]:b]:c", 0, 7, "and nest"],
  ["a]:b", 0, -1, "one that closes nothing counts below zero"],
  ["a]:[b:c", 0, 5, "until one opens"],
  ["[a:b]:c", 1, 2, "depth counts from zero at the place"],
  ["", 0, -1, "nothing holds nothing"],
];
for (const [text, from, at, because] of searches) {
  test(`a colon in ${JSON.stringify(text)} from ${from} on is at ${at}: ${because}`, () => {
    assert.equal(indexOutsideBrackets(text, ":", from), at);
    if (from === 0) assert.equal(indexOutsideBrackets(text, ":"), at);
  });
}

test("a bracket may be looked for itself", () => {
  assert.equal(indexOutsideBrackets("a[b[", "["), 1);
});

const long = "x".repeat(201);
const sentences: [sentence: string, short: string, because: string][] = [
  [
    `bad word: "${long.slice(1)}"`,
    `bad word: "${long.slice(1)}"`,
    "a quoted word of two hundred characters stays",
  ],
  [`bad word: "${long}", not good`, `bad word: "${long.slice(1)}...", not good`, "a longer one is cut"],
  ["y".repeat(1000), "y".repeat(1000), "a sentence of a thousand characters stays"],
  ["y".repeat(1001), `${"y".repeat(1000)}...`, "a longer one is cut, too"],
];
for (const [sentence, short, because] of sentences)
  test(`a sentence for people is short: ${because}`, () => assert.equal(shorten(sentence), short));
