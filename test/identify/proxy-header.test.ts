import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { beginsProxyHeader, parseProxyHeader } from "../../src/identify/proxy-header.ts";
import { describeTlvs } from "../../src/identify/proxy-tlvs.ts";
import { crc32c } from "../../src/platform/crc32c.ts";
import type { Parsed } from "../../src/identify/proxy-types.ts";
import {
  addresses6,
  announced4,
  announced6,
  signature,
  tlv,
  version2,
  withChecksum,
} from "./proxy-headers.ts";
import { fuzzSeed } from "../support/fuzz-seed.ts";

const limits = { maxBytes: 4096 };

/** One word for what came out: "CLIENT:PORT > SERVER:PORT", an origin, "more", or the fault. */
function outcome(
  bytes: Uint8Array | string,
  options: Parameters<typeof parseProxyHeader>[1] = limits,
): string {
  const parsed: Parsed = parseProxyHeader(
    typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes,
    options,
  );
  switch (parsed.kind) {
    case "more":
      return "more";
    case "refused":
      return parsed.fault;
    case "header": {
      const { client, server, origin } = parsed.header;
      if (client === undefined || server === undefined) return origin;
      return `${client.address} ${client.port} > ${server.address} ${server.port}`;
    }
    default:
      return parsed satisfies never;
  }
}

const longest = "PROXY TCP6 2fff:f:f:f:f:f:f:ffff 2fff:f:f:f:f:f:f:ffff 65535 65535\r\n";
const unknownOf = (bytes: number): string => `PROXY UNKNOWN ${"x".repeat(bytes - 16)}\r\n`;

const version1: [id: string, line: string, expected: string, because: string][] = [
  [
    "B5",
    "PROXY TCP4 192.0.2.7 198.51.100.1 40000 22\r\n",
    "192.0.2.7 40000 > 198.51.100.1 22",
    "the plain form",
  ],
  [
    "B5",
    "PROXY TCP6 2001:DB8:0::7 2001:db8::1 40000 22\r\n",
    "2001:db8::7 40000 > 2001:db8::1 22",
    "canonical text",
  ],
  ["B5", "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "::ffff:192.0.2.7 1 > ::1 2", "mapped text is kept"],
  ["B5", "PROXY TCP4 192.0.2.7 198.51.100.1 65535 0\r\n", "192.0.2.7 65535 > 198.51.100.1 0", "0 to 65535"],
  ["B5", "PROXY TCP4 192.0.2.7 198.51.100.1 65536 22\r\n", "malformed", "no port"],
  ["B5", "PROXY TCP4 192.0.2.7 198.51.100.1 -1 22\r\n", "malformed", "no sign"],
  ["B5", "PROXY TCP4 192.0.2.7 198.51.100.1 +1 22\r\n", "malformed", "no sign"],
  ["B5", "PROXY TCP4 192.0.2.7 198.51.100.1 022 22\r\n", "malformed", "no leading zero"],
  ["B5", "PROXY TCP4 192.0.2.7 198.51.100.1  22\r\n", "malformed", "an empty port"],
  ["B5", "PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n", "malformed", "no second port"],
  ["B5", "PROXY TCP4 192.0.2.7 198.51.100.1 40000 \r\n", "malformed", "an empty second port"],
  ["B5", "PROXY TCP4 192.0.2.07 198.51.100.1 40000 22\r\n", "malformed", "no leading zero in an address"],
  ["B5", "PROXY TCP4 192.0.2.256 198.51.100.1 40000 22\r\n", "malformed", "no address"],
  [
    "B5",
    "PROXY TCP6 fe80::1%eth0 fe80::2 40000 22\r\n",
    "malformed",
    "a zone means nothing on another machine",
  ],
  ["B5", "PROXY TCP6 192.0.2.7 198.51.100.1 40000 22\r\n", "malformed", "IPv4 is not TCP6"],
  ["B5", "PROXY TCP4 2001:db8::7 2001:db8::1 40000 22\r\n", "malformed", "IPv6 is not TCP4"],
  ["B5", "PROXY TCP4 192.0.2.7 198.51.100.1 40000 22 x\r\n", "malformed", "an extra word"],
  ["B5", "PROXY TCP4 192.0.2.7 198.51.100.1 40000 22 \r\n", "malformed", "an extra blank"],
  ["B5", "PROXY  TCP4 192.0.2.7 198.51.100.1 40000 22\r\n", "malformed", "two blanks"],
  ["B5", "PROXY TCP4 host.example 198.51.100.1 40000 22\r\n", "malformed", "a name is no address"],
  ["B5", "PROXY UDP4 192.0.2.7 198.51.100.1 40000 22\r\n", "malformed", "no such protocol"],
  ["B5", "PROXY tcp4 192.0.2.7 198.51.100.1 40000 22\r\n", "malformed", "upper case"],
  ["B5", "proxy TCP4 192.0.2.7 198.51.100.1 40000 22\r\n", "not_proxy", "upper case"],
  ["B5", "PROXY TCP4 192.0.2.7\0 198.51.100.1 40000 22\r\n", "malformed", "no NUL"],
  ["B4", longest, "2fff:f:f:f:f:f:f:ffff 65535 > 2fff:f:f:f:f:f:f:ffff 65535", "far below the longest line"],
  ["B4", unknownOf(107), "socket", "107 bytes are the longest line"],
  ["B4", unknownOf(108), "too_long", "108 are too many"],
  ["B4", `PROXY UNKNOWN ${"x".repeat(92)}`, "more", "106 bytes may still end in time"],
  ["B4", `PROXY UNKNOWN ${"x".repeat(93)}`, "too_long", "107 bytes without an end"],
  ["B4", "PROXY TCP4 192.0.2.7 198.51.100.1 40000 22\n", "malformed", "LF alone is no end"],
  ["B4", "PROXY UNKNOWN\n", "malformed", "nor is it for UNKNOWN"],
  ["B4", "PROXY TCP4 192.0.2.7 198.51.100.1 40000 22\r", "more", "the LF may come"],
  ["B4", "PROXY TCP4 192.0.2.7 198.51.100.1 40000 22", "more", "the end may come"],
  ["B4", "PROXY \r\n", "malformed", "no protocol"],
  ["B6", "PROXY UNKNOWN\r\n", "socket", "the proxy does not know: the socket's own addresses count"],
  ["B6", "PROXY UNKNOWN ffff::1 ffff::2 1 2 what ever\r\n", "socket", "the rest is ignored"],
  ["B6", "PROXY UNKNOWNX\r\n", "malformed", "another word"],
  [
    "B16",
    "PROXY TCP4 127.0.0.1 198.51.100.1 1 2\r\n",
    "127.0.0.1 1 > 198.51.100.1 2",
    "loopback may be announced",
  ],
  ["B16", "PROXY TCP4 0.0.0.0 198.51.100.1 1 2\r\n", "refused_address", "nobody comes from nowhere"],
  ["B16", "PROXY TCP4 192.0.2.7 0.0.0.0 1 2\r\n", "refused_address", "nor goes there"],
  ["B16", "PROXY TCP4 224.0.0.1 198.51.100.1 1 2\r\n", "refused_address", "a group is no client"],
  ["B16", "PROXY TCP4 255.255.255.255 198.51.100.1 1 2\r\n", "refused_address", "nor is everybody"],
  ["B16", "PROXY TCP6 :: ::1 1 2\r\n", "refused_address", "nowhere in IPv6"],
  ["B16", "PROXY TCP6 ff02::1 ::1 1 2\r\n", "refused_address", "a group in IPv6"],
  ["B16", "PROXY TCP6 ::ffff:0.0.0.0 ::1 1 2\r\n", "refused_address", "nowhere, mapped"],
  ["B18", "P", "more", "the beginning of version 1"],
  ["B18", "PR", "more", "still"],
  ["B18", "PROXY", "more", "still"],
  ["B18", "PX", "not_proxy", "something else, known at the second byte"],
  ["B18", "\r\n\r\n", "more", "the beginning of version 2"],
  ["B18", "\r\n\r\n\0\r\nQUIT", "more", "still"],
  ["B18", "\r\n\r\n\0\r\nQUIX", "not_proxy", "something else"],
  ["B18", "", "more", "nothing yet"],
  ["B19", "\x16\x03\x01\x02\x00\x01", "not_proxy", "TLS before the header"],
  ["B14", "SSH-2.0-OpenSSH_9.2\r\n", "not_proxy", "a client without a header"],
  ["B14", "GET / HTTP/1.1\r\n", "not_proxy", "another one"],
];
for (const [id, line, expected, because] of version1) {
  test(`${id}: ${JSON.stringify(line).slice(0, 72)} is ${expected}: ${because}`, () =>
    assert.equal(outcome(line), expected));
}

const shown4 = "192.0.2.7 40000 > 198.51.100.1 22";
const shown6 = "2001:db8::7 40000 > 2001:db8::1 22";
const six = { family: 0x21, addresses: addresses6 };
const unix = { family: 0x31, addresses: Buffer.alloc(216, "/path") };
const unspecified6 = Buffer.concat([Buffer.alloc(16), addresses6.subarray(16)]);

const version2rows: [id: string, what: string, bytes: Uint8Array, expected: string][] = [
  ["B8", "TCP over IPv4", version2(), shown4],
  ["B8", "TCP over IPv6", version2(six), shown6],
  ["B8", "version 1 in the version nibble", version2({ command: 0x11 }), "malformed"],
  ["B8", "version 3 in the version nibble", version2({ command: 0x31 }), "malformed"],
  ["B8", "command 2", version2({ command: 0x22 }), "malformed"],
  ["B8", "command 15", version2({ command: 0x2f }), "malformed"],
  ["B8", "family 4", version2({ family: 0x41 }), "malformed"],
  ["B8", "transport 3", version2({ family: 0x13 }), "malformed"],
  ["B8", "a family without a transport", version2({ family: 0x10 }), "malformed"],
  ["B8", "a transport without a family", version2({ family: 0x01 }), "malformed"],
  ["B8", "datagrams on a stream", version2({ family: 0x12 }), "malformed"],
  ["B8", "a length below the IPv4 addresses", version2({ length: 11 }), "malformed"],
  ["B8", "a length of 0 with IPv4", version2({ addresses: Buffer.alloc(0) }), "malformed"],
  ["B8", "IPv4 addresses for IPv6", version2({ family: 0x21 }), "malformed"],
  [
    "B8",
    "a length below the unix paths",
    version2({ family: 0x31, addresses: Buffer.alloc(215) }),
    "malformed",
  ],
  ["B8", "IPv4 addresses that have not come", version2().subarray(0, 27), "more"],
  ["B8", "a wrong version alone", Buffer.concat([signature, Buffer.from([0x30])]), "malformed"],
  ["B8", "a wrong family alone", Buffer.concat([signature, Buffer.from([0x21, 0x99])]), "malformed"],
  [
    "B7",
    "LOCAL without addresses",
    version2({ command: 0x20, family: 0, addresses: Buffer.alloc(0) }),
    "local",
  ],
  ["B7", "LOCAL with addresses", version2({ command: 0x20 }), "local"],
  ["B7", "LOCAL with a family nobody knows", version2({ command: 0x20, family: 0x99 }), "local"],
  [
    "B7",
    "LOCAL with a block of anything",
    version2({ command: 0x20, addresses: Buffer.alloc(99, 0xff) }),
    "local",
  ],
  ["B7", "PROXY from an unspecified family", version2({ family: 0, addresses: Buffer.alloc(7) }), "socket"],
  ["B9", "a length beyond the bound", version2({ length: 65_535 }).subarray(0, 16), "too_long"],
  ["B9", "a length at the bound", version2({ tlvs: [tlv(0xe0, Buffer.alloc(4096 - 31))] }), shown4],
  [
    "B9",
    "a length over the bound by 1",
    version2({ tlvs: [tlv(0xe0, Buffer.alloc(4096 - 30))] }),
    "too_long",
  ],
  ["B9", "LOCAL with a length beyond the bound", version2({ command: 0x20, length: 65_535 }), "too_long"],
  ["B10", "an extension longer than the header", version2({ tlvs: [tlv(0xe0, "abc", 4)] }), "malformed"],
  ["B10", "an extension short by 1", version2({ tlvs: [tlv(0xe0, "abc", 2)] }), "malformed"],
  ["B10", "two bytes of an extension", version2({ tlvs: [Buffer.from([0xe0, 0])] }), "malformed"],
  ["B10", "an extension of no bytes", version2({ tlvs: [tlv(0xe0, "")] }), shown4],
  ["B10", "an extension nobody knows", version2({ tlvs: [tlv(0x99, "what")] }), shown4],
  ["B10", "the same extension twice", version2({ tlvs: [tlv(2, "one"), tlv(2, "two")] }), shown4],
  ["B10", "an extension behind the header", Buffer.concat([version2(), tlv(2, "payload")]), shown4],
  [
    "B10",
    "extensions with IPv6",
    version2({ ...six, tlvs: [tlv(2, "host"), tlv(4, Buffer.alloc(9))] }),
    shown6,
  ],
  ["B11", "a right checksum", withChecksum(), shown4],
  [
    "B11",
    "a right checksum behind other extensions",
    withChecksum({ ...six, tlvs: [tlv(2, "host")] }),
    shown6,
  ],
  ["B11", "a checksum wrong in one bit", withChecksum({}, 1), "checksum"],
  ["B11", "a checksum wrong in its last bit", withChecksum({}, 0x80000000), "checksum"],
  ["B11", "two checksums", withChecksum({ tlvs: [tlv(3, Buffer.alloc(4))] }), "malformed"],
  ["B11", "a checksum of three bytes", version2({ tlvs: [tlv(3, Buffer.alloc(3))] }), "malformed"],
  ["B12", "AF_UNIX", version2(unix), "unix"],
  ["B12", "AF_UNIX with extensions", version2({ ...unix, tlvs: [tlv(5, "id")] }), "unix"],
  ["B16", "nowhere as the client", version2({ family: 0x21, addresses: unspecified6 }), "refused_address"],
  ["B15", "a header inside the header", Buffer.concat([version2(), version2(six)]), shown4],
];
for (const [id, what, bytes, expected] of version2rows) {
  test(`${id}: version 2 with ${what} is ${expected}`, () => assert.equal(outcome(bytes), expected));
}

test("B16: the list of addresses that nobody may announce is settable", () => {
  const line = "PROXY TCP4 127.0.0.1 198.51.100.1 1 2\r\n";
  assert.equal(outcome(line, { ...limits, refuse: ["loopback"] }), "refused_address");
  assert.equal(
    outcome("PROXY TCP4 0.0.0.0 0.0.0.0 1 2\r\n", { ...limits, refuse: [] }),
    "0.0.0.0 1 > 0.0.0.0 2",
  );
});

test("the endpoints are those of the header, and the extensions are kept in their order", () => {
  const four = parseProxyHeader(version2({ tlvs: [tlv(2, "host"), tlv(0xe0, "")] }), limits);
  assert.equal(four.kind, "header");
  assert.deepEqual(four.header, {
    version: 2,
    origin: "announced",
    ...announced4,
    tlvs: [
      { type: 2, value: new Uint8Array(Buffer.from("host")) },
      { type: 0xe0, value: new Uint8Array(0) },
    ],
  });
  const sixth = parseProxyHeader(version2(six), limits);
  assert.equal(sixth.kind, "header");
  assert.deepEqual([sixth.header.client, sixth.header.server], [announced6.client, announced6.server]);
});

test("B10: the record gets names and escaped values, never raw bytes, no checksum and no padding", () => {
  const shown = describeTlvs([
    { type: 1, value: Buffer.from("h2") },
    { type: 2, value: Buffer.from("evil\nhost") },
    { type: 3, value: Buffer.alloc(4) },
    { type: 4, value: Buffer.alloc(400) },
    { type: 5, value: Buffer.from("0xfake") },
    { type: 0xee, value: Buffer.alloc(0) },
    { type: 0xef, value: Buffer.alloc(1000, "a") },
  ]);
  assert.deepEqual(shown, [
    { name: "alpn", value: "h2" },
    { name: "authority", value: "0x6576696c0a686f7374" },
    { name: "unique_id", value: "0x307866616b65" },
    { name: "type_238", value: "0x" },
    { name: "type_239", value: "a".repeat(256) },
  ]);
});

test("crc32c gives the check value of its definition", () => {
  assert.equal(crc32c(Buffer.from("123456789")), 0xe3069283);
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
});

const beginnings: [bytes: string, begins: string][] = [
  ["", "maybe"],
  ["P", "maybe"],
  ["PROXY", "maybe"],
  ["PROXY ", "yes"],
  ["PROXY TCP4 ", "yes"],
  ["\r\n\r\n", "maybe"],
  ["\r\n\r\n\0\r\nQUIT\n", "yes"],
  ["\r\n\r\n\0\r\nQUIT\n\x21", "yes"],
  ["SSH-2.0", "no"],
  ["PUT / ", "no"],
  ["\r\nhello", "no"],
];
for (const [bytes, begins] of beginnings) {
  test(`B13: ${JSON.stringify(bytes)} begins a header: ${begins}`, () =>
    assert.equal(beginsProxyHeader(Buffer.from(bytes, "latin1")), begins));
}

const runs = Number(process.env["FUZZ_RUNS"] ?? 20_000);

/** Headers, right and bent, with payload behind them. */
const bent: fc.Arbitrary<Uint8Array> = fc
  .tuple(
    fc.oneof(
      fc.constantFrom(...version1.map(([, line]) => Buffer.from(line, "latin1"))),
      fc.constantFrom(...version2rows.map(([, , bytes]) => Buffer.from(bytes))),
      fc
        .uint8Array({ maxLength: 300 })
        .map((tail) => Buffer.concat([signature, Buffer.from([0x21, 0x11]), tail])),
      fc.string({ maxLength: 120 }).map((tail) => Buffer.from(`PROXY ${tail}`)),
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    ),
    fc.array(fc.tuple(fc.nat(250), fc.nat(255)), { maxLength: 3 }),
    fc.uint8Array({ maxLength: 40 }),
  )
  .map(([header, changes, payload]) => {
    const bytes = Buffer.concat([header, payload]);
    for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
    return bytes;
  });

test(`B20: parseProxyHeader reads ${runs} bent headers without a throw and without a look past their end`, () => {
  fc.assert(
    fc.property(bent, (bytes) => {
      const parsed = parseProxyHeader(bytes, limits);
      if (parsed.kind === "header") {
        assert.ok(parsed.length <= bytes.length && parsed.length >= 8);
        for (const side of [parsed.header.client, parsed.header.server]) {
          assert.match(side?.address ?? "::", /^[0-9a-f:.]{2,45}$/);
          assert.ok((side?.port ?? 0) <= 65_535);
        }
      }
      // The same bytes inside a larger buffer, among others, must read the same.
      const among = Buffer.concat([Buffer.alloc(7, 0x0a), bytes, Buffer.from("\r\nPROXY UNKNOWN\r\n")]);
      assert.deepEqual(parseProxyHeader(among.subarray(7, 7 + bytes.length), limits), parsed);
    }),
    { numRuns: runs, seed: fuzzSeed },
  );
});

test("B1, B20: whatever is read from all the bytes is read from no beginning of them otherwise", () => {
  fc.assert(
    fc.property(bent, (bytes) => {
      let decided: Parsed | undefined;
      for (let end = 0; end <= bytes.length; end++) {
        const parsed = parseProxyHeader(bytes.subarray(0, end), limits);
        if (decided !== undefined) assert.deepEqual(parsed, decided);
        else if (parsed.kind !== "more") decided = parsed;
      }
      assert.deepEqual(parseProxyHeader(bytes, limits), decided ?? { kind: "more" });
    }),
    { numRuns: Math.min(runs, 1000), seed: fuzzSeed },
  );
});
