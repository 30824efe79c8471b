import assert from "node:assert/strict";
import { test } from "node:test";

import { hasUdpListener } from "../../src/platform/udp-table.ts";
import { openUdp } from "../support/datagrams.ts";

const rows: [bound: string, asked: string, listens: boolean, because: string][] = [
  ["127.0.0.1", "127.0.0.1", true, "the same address"],
  ["127.0.0.1", "127.0.0.2", false, "another address"],
  ["127.0.0.1", "0.0.0.0", true, "the wildcard address would take its datagrams"],
  ["0.0.0.0", "127.0.0.2", true, "it takes those of every address"],
  ["::1", "::1", true, "IPv6 too"],
  ["::1", "fe80::1%lo", false, "another IPv6 address, with a zone"],
  ["::", "::1", true, "the IPv6 wildcard"],
];
for (const [bound, asked, listens, because] of rows) {
  test(`a socket on ${bound}, somebody asks for ${asked}: ${because}`, async (t) => {
    const { port } = (await openUdp(t, bound)).address();
    assert.equal(hasUdpListener(asked, port), listens);
  });
}

test("a socket that is connected to one client does not listen", async (t) => {
  const [socket, client] = [await openUdp(t), await openUdp(t)];
  await new Promise<void>((resolve) => socket.connect(client.address().port, "127.0.0.1", resolve));
  assert.equal(hasUdpListener("127.0.0.1", socket.address().port), false);
});
