/** What a backend is told of its client, byte for byte. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { test } from "node:test";

import { parseProxyHeader } from "../../src/identify/proxy-header.ts";
import { crc32c } from "../../src/platform/crc32c.ts";
import { dial } from "../../src/relay/dial.ts";
import { buildProxyHeader } from "../../src/relay/proxy-header.ts";

const v4 = { client: { address: "203.0.113.7", port: 54321 }, server: { address: "198.51.100.1", port: 22 } };
const v6 = { client: { address: "2001:db8::9", port: 54321 }, server: { address: "fe80::1%eth0", port: 22 } };
const mapped = {
  client: { address: "::ffff:203.0.113.7", port: 54321 },
  server: { address: "::ffff:198.51.100.1", port: 22 },
};
const mixed = { client: v4.client, server: { address: "2001:db8::1", port: 22 } };

const lines: [name: string, connection: typeof v4 | undefined, line: string][] = [
  ["C1: an IPv4 client", v4, "PROXY TCP4 203.0.113.7 198.51.100.1 54321 22\r\n"],
  ["C1: an IPv6 client, zone left out", v6, "PROXY TCP6 2001:db8::9 fe80::1 54321 22\r\n"],
  ["C1: an IPv4 client on a dual-stack listener", mapped, "PROXY TCP4 203.0.113.7 198.51.100.1 54321 22\r\n"],
  ["C1: ends of two families", mixed, "PROXY TCP6 ::ffff:cb00:7107 2001:db8::1 54321 22\r\n"],
  ["C2: a client on a unix socket", undefined, "PROXY UNKNOWN\r\n"],
];
for (const [name, connection, line] of lines) {
  test(`${name}, in version 1`, () => {
    const header = buildProxyHeader({
      version: "v1",
      ...(connection && { connection }),
      uniqueId: "not sent",
    });
    assert.equal(header.toString("latin1"), line);
    assert.ok(header.length <= 107);
  });
}

const signature = "0d0a0d0a000d0a515549540a";
const blocks: [name: string, connection: typeof v4 | undefined, hex: string][] = [
  ["C1: an IPv4 client", v4, "21110013cb007107c6336401d4310016"],
  ["C1: an IPv4 client on a dual-stack listener", mapped, "21110013cb007107c6336401d4310016"],
  [
    "C1: an IPv6 client",
    v6,
    "2121002b20010db8000000000000000000000009fe800000000000000000000000000001d4310016",
  ],
  [
    "C1: ends of two families",
    mixed,
    "2121002b00000000000000000000ffffcb00710720010db8000000000000000000000001d4310016",
  ],
  ["C2: a client on a unix socket", undefined, "20000007"],
];
for (const [name, connection, hex] of blocks) {
  test(`${name}, in version 2`, () => {
    const header = buildProxyHeader({ version: "v2", ...(connection && { connection }) });
    assert.equal(header.subarray(0, -7).toString("hex"), signature + hex);
    assert.equal(header.subarray(-7, -4).toString("hex"), "030004");
  });
}

test("C4: a v2 header carries the unique id, and a checksum that a receiver confirms", () => {
  const header = buildProxyHeader({ version: "v2", connection: v4, uniqueId: "c0ffee-17" });
  const parsed = parseProxyHeader(header, { maxBytes: 4096, refuse: [] });
  assert.equal(parsed.kind, "header");
  assert.ok(parsed.kind === "header");
  assert.equal(parsed.length, header.length);
  assert.deepEqual(parsed.header.client, v4.client);
  assert.deepEqual(parsed.header.server, v4.server);
  const id = parsed.header.tlvs.find(({ type }) => type === 5);
  assert.equal(Buffer.from(id?.value ?? []).toString(), "c0ffee-17");
  assert.ok(parsed.header.tlvs.some(({ type }) => type === 3));
  const broken = Buffer.from(header);
  broken[20] = (broken[20] ?? 0) ^ 1;
  const refused = parseProxyHeader(broken, { maxBytes: 4096, refuse: [] });
  assert.equal(refused.kind === "refused" && refused.fault, "checksum");
});

test("C4: a unique id is cut at 128 bytes, between characters", () => {
  const header = buildProxyHeader({ version: "v2", connection: v4, uniqueId: "x".repeat(127) + "é" });
  assert.equal(header.readUInt16BE(29), 127);
});

test("the checksum is CRC-32C over the header with its own field zero", () => {
  assert.equal(crc32c(Buffer.from("123456789")), 0xe3069283); // the check value that defines it
  const header = buildProxyHeader({ version: "v2", uniqueId: "id" });
  const stored = header.readUInt32BE(header.length - 4);
  assert.equal(stored, crc32c(Buffer.from(header).fill(0, header.length - 4)));
});

test("nonsense is refused, not sent", () => {
  for (const address of ["unknown", "", "1", "0x7f.1", "203.0.113.7 x", "::1\r\n"]) {
    const connection = { ...v4, client: { address, port: 1 } };
    assert.throws(() => buildProxyHeader({ version: "v1", connection }), RangeError, address);
  }
  for (const port of [-1, 65536, 1.5, Number.NaN]) {
    const connection = { ...v4, client: { address: "203.0.113.7", port } };
    assert.throws(() => buildProxyHeader({ version: "v2", connection }), RangeError);
  }
});

test("C3: the header is the first thing a backend hears, in one piece", async () => {
  const server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const header = buildProxyHeader({ version: "v2", connection: v4, uniqueId: "id" });
  const accepting = once(server, "connection") as Promise<[Socket]>;
  const dialled = await dial({ kind: "tcp", host: "127.0.0.1", port }, { connectTimeoutMs: 5000, header });
  const socket = dialled.socket();
  socket.end("then the client");
  const [accepted] = await accepting;
  accepted.resume();
  const [first] = (await once(accepted, "data")) as [Buffer];
  assert.ok(first.subarray(0, header.length).equals(header));
  for (const each of [socket, accepted]) each.destroy();
  server.close();
});
