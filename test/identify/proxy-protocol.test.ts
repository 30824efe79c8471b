import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import type { Request } from "../../src/access/types.ts";
import type { ProxyReadOptions } from "../../src/identify/proxy-protocol.ts";
import { announcedRequest, readProxyHeader, sendsProxyHeader } from "../../src/identify/proxy-protocol.ts";
import { parseProxyHeader } from "../../src/identify/proxy-header.ts";
import { announced4, tlv, version2, withChecksum } from "./proxy-headers.ts";

const options: ProxyReadOptions = { timeoutMs: 5000, maxBytes: 4096 };
const line = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 22\r\n";

/** One accepted connection and its client; everything ends with the test. */
async function joined(use: (accepted: Socket, client: Socket) => Promise<void>): Promise<void> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const arrival = once(server, "connection");
  const client = connect({
    port: (server.address() as AddressInfo).port,
    host: "127.0.0.1",
    allowHalfOpen: true,
  });
  client.setNoDelay(true);
  client.on("error", () => {});
  const [accepted] = (await arrival) as [Socket];
  accepted.on("error", () => {});
  try {
    await use(accepted, client);
  } finally {
    accepted.destroy();
    client.destroy();
    server.close();
    await once(server, "close");
  }
}

/** Everything that the relay would see. */
async function payloadOf(accepted: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  accepted.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(accepted, "end");
  return Buffer.concat(chunks);
}

/** Writes one piece at a time, each when the one before is on its way. */
async function drip(client: Socket, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at++) {
    await new Promise<void>((resolve) => {
      client.write(bytes.subarray(at, at + 1), () => setImmediate(resolve));
    });
  }
}

const good: [name: string, header: Uint8Array][] = [
  ["version 1", Buffer.from(line)],
  ["version 2", version2()],
  ["version 2 with extensions and a checksum", withChecksum({ tlvs: [tlv(2, "host.example")] })],
];
for (const [name, header] of good) {
  test(`B1: ${name}, one byte a packet, is read, and the payload behind it`, () =>
    joined(async (accepted, client) => {
      const read = readProxyHeader(accepted, options);
      await drip(client, Buffer.concat([header, Buffer.from("hello")]));
      client.end();
      const arrival = await read;
      assert.equal(arrival.kind, "header");
      assert.deepEqual(arrival.header.client, announced4.client);
      assert.equal((await payloadOf(accepted)).toString(), "hello");
    }));

  for (const size of [1, 1000, 64 * 1024, 1024 * 1024]) {
    test(`B2: ${name} and ${size} bytes of payload in one write, then the end: every byte arrives once, in order`, () =>
      joined(async (accepted, client) => {
        const payload = Buffer.from(Uint8Array.from({ length: size }, (_, at) => (at * 31) ^ (at >> 8)));
        client.end(Buffer.concat([header, payload]));
        const arrival = await readProxyHeader(accepted, options);
        assert.equal(arrival.kind, "header");
        assert.ok(payload.subarray(0, arrival.rest.length).equals(arrival.rest));
        assert.ok((await payloadOf(accepted)).equals(payload));
      }));
  }

  test(`B3: ${name} and then silence is read at once: the server may speak first`, () =>
    joined(async (accepted, client) => {
      client.write(header);
      const arrival = await readProxyHeader(accepted, options);
      assert.equal(arrival.kind === "header" && arrival.rest.length, 0);
      accepted.write("greeting");
      assert.equal(String((await once(client, "data"))[0]), "greeting");
      client.end("answer");
      assert.equal((await payloadOf(accepted)).toString(), "answer");
    }));
}

test("B2: a pipeline behind the header carries everything, also where the end came with the header", () =>
  joined(async (accepted, client) => {
    client.end(`${line}ping`);
    assert.equal((await readProxyHeader(accepted, options)).kind, "header");
    await pipeline(accepted, accepted);
    assert.equal(String((await once(client, "data"))[0]), "ping");
  }));

test("B3: a pipeline behind a header whose sender has already finished ends too", () =>
  joined(async (accepted, client) => {
    client.end(line);
    assert.equal((await readProxyHeader(accepted, options)).kind, "header");
    client.resume();
    await Promise.all([pipeline(accepted, accepted), once(client, "end")]);
  }));

test("B15: a header inside the header is payload", () =>
  joined(async (accepted, client) => {
    const inner = "PROXY TCP4 203.0.113.9 198.51.100.1 1 2\r\nhello";
    client.end(line + inner);
    const arrival = await readProxyHeader(accepted, options);
    assert.deepEqual(arrival.kind === "header" && arrival.header.client, announced4.client);
    assert.equal((await payloadOf(accepted)).toString(), inner);
  }));

test("B19: TLS behind the header is payload; TLS before it is refused", async () => {
  const hello = Buffer.from("16030100c8010000c4", "hex");
  await joined(async (accepted, client) => {
    client.end(Buffer.concat([version2(), hello]));
    assert.equal((await readProxyHeader(accepted, options)).kind, "header");
    assert.ok((await payloadOf(accepted)).equals(hello));
  });
  await joined(async (accepted, client) => {
    client.end(Buffer.concat([hello, version2()]));
    const arrival = await readProxyHeader(accepted, options);
    assert.equal(arrival.kind === "refused" && arrival.fault, "not_proxy");
  });
});

const faults: [id: string, what: string, send: (client: Socket) => void, fault: string][] = [
  ["B4", "a line without CR", (client) => client.write("PROXY TCP4 1.1.1.1 1.1.1.2 1 2\n"), "malformed"],
  [
    "B4",
    "107 bytes without an end",
    (client) => client.write(`PROXY UNKNOWN ${"x".repeat(200)}`),
    "too_long",
  ],
  ["B9", "a length of 65535", (client) => client.write(version2({ length: 65_535 })), "too_long"],
  ["B11", "a wrong checksum", (client) => client.write(withChecksum({}, 1)), "checksum"],
  [
    "B16",
    "a multicast client",
    (client) => client.write("PROXY TCP4 224.0.0.1 1.1.1.2 1 2\r\n"),
    "refused_address",
  ],
  ["B14", "another protocol", (client) => client.write("SSH-2.0-OpenSSH\r\n"), "not_proxy"],
  ["B14", "the end at once", (client) => client.end(), "closed"],
  ["B14", "half a header and the end", (client) => client.end("PROXY TCP4"), "closed"],
  [
    "B14",
    "half a header and a reset",
    (client) => client.write("PROXY", () => client.resetAndDestroy()),
    "closed",
  ],
];
for (const [id, what, send, fault] of faults) {
  test(`${id}: ${what} is refused as ${fault}`, () =>
    joined(async (accepted, client) => {
      send(client);
      const arrival = await readProxyHeader(accepted, options);
      assert.equal(arrival.kind === "refused" && arrival.fault, fault);
      assert.equal(accepted.listenerCount("readable"), 0);
    }));
}

for (const [id, what, bytes] of [
  ["B14", "nothing", ""],
  ["B18", "PR and no more", "PR"],
  ["B18", "the first half of the binary signature", "\r\n\r\n"],
] as const) {
  test(`${id}: ${what} is refused at the time limit`, () =>
    joined(async (accepted, client) => {
      client.write(bytes);
      const start = performance.now();
      const arrival = await readProxyHeader(accepted, { ...options, timeoutMs: 150 });
      assert.equal(arrival.kind === "refused" && arrival.fault, "timeout");
      const took = performance.now() - start;
      assert.ok(took >= 149 && took < 3000, `took ${took} ms`);
    }));
}

test("B9: a sender that drips within the length it announced meets the time limit, not the end of memory", () =>
  joined(async (accepted, client) => {
    client.write(version2({ length: 4000 }));
    const timer = setInterval(() => client.write("x"), 10);
    const arrival = await readProxyHeader(accepted, { ...options, timeoutMs: 200 });
    clearInterval(timer);
    assert.equal(arrival.kind === "refused" && arrival.fault, "timeout");
  }));

test("a signal ends the waiting, also one that has come before", () =>
  joined(async (accepted) => {
    const stop = new AbortController();
    const read = readProxyHeader(accepted, { ...options, signal: stop.signal });
    stop.abort();
    assert.equal((await read).kind, "refused");
    assert.equal((await readProxyHeader(accepted, { ...options, signal: stop.signal })).kind, "refused");
  }));

test("a socket that is already destroyed is refused", () =>
  joined(async (accepted) => {
    accepted.destroy();
    const arrival = await readProxyHeader(accepted, options);
    assert.equal(arrival.kind === "refused" && arrival.fault, "closed");
  }));

const unlisted: [what: string, bytes: string, refused: boolean][] = [
  ["a header of version 1", line, true],
  ["a header of version 2", version2().toString("latin1"), true],
  ["a broken header", "PROXY nonsense\r\n", true],
  ["another protocol", "SSH-2.0-OpenSSH\r\n", false],
  ["nothing", "", false],
  ["PR and no more", "PR", false],
];
for (const [what, bytes, refused] of unlisted) {
  test(`B13: a peer that is not listed and sends ${what} is ${refused ? "refused" : "a client as any other"}`, () =>
    joined(async (accepted, client) => {
      client.end(Buffer.from(bytes, "latin1"));
      assert.equal(await sendsProxyHeader(accepted, { waitMs: 200 }), refused);
      if (bytes !== "") assert.equal((await payloadOf(accepted)).toString("latin1"), bytes);
    }));
}

test("B13: a client that waits for the greeting is kept no longer than the wait, and loses nothing", () =>
  joined(async (accepted, client) => {
    const start = performance.now();
    assert.equal(await sendsProxyHeader(accepted, { waitMs: 20 }), false);
    assert.ok(performance.now() - start < 200);
    accepted.write("greeting");
    assert.equal(String((await once(client, "data"))[0]), "greeting");
    client.end("answer");
    assert.equal((await payloadOf(accepted)).toString(), "answer");
  }));

const request: Request = {
  daemon: "sshd",
  client: { address: "10.0.0.1", port: 5000 },
  server: { address: "10.0.0.2", port: 22 },
};
const origins: [id: string, what: string, bytes: Uint8Array, expected: Pick<Request, "client" | "server">][] =
  [
    ["B17", "announced endpoints", version2(), announced4],
    ["B7", "LOCAL", version2({ command: 0x20 }), request],
    ["B6", "UNKNOWN", Buffer.from("PROXY UNKNOWN\r\n"), request],
    [
      "B12",
      "AF_UNIX",
      version2({ family: 0x31, addresses: Buffer.alloc(216) }),
      {
        client: { address: "localhost", name: "unknown" },
        server: { address: "localhost", name: "unknown" },
      },
    ],
  ];
for (const [id, what, bytes, expected] of origins) {
  test(`${id}: announcedRequest of ${what} has the endpoints that count for rules and limits`, () => {
    const parsed = parseProxyHeader(bytes, options);
    assert.equal(parsed.kind, "header");
    const { client, server } = announcedRequest(request, parsed.header);
    assert.deepEqual({ client, server }, { client: expected.client, server: expected.server });
    assert.equal(request.client.address, "10.0.0.1"); // the socket's own stays for the record
  });
}
