/** Runs in a namespace of its own: dials a backend there from addresses that nobody has, and prints what it saw. */

import { once } from "node:events";
import { createServer } from "node:net";

import { dial } from "../../../src/relay/dial.ts";
import { loadTransparent } from "../../../src/relay/transparent.ts";
import { checkTransparent } from "../../../src/relay/transparent-check.ts";

const openFrom = await loadTransparent();
const missing = await checkTransparent({
  backends: ["127.0.0.1", "::1"].map((address) => ({ address, port: 2222 })),
});
const seen: string[] = [];
for (const [client, host] of [
  ["198.51.100.11", "127.0.0.1"],
  ["::ffff:198.51.100.12", "127.0.0.1"],
  ["2001:db8::11", "::1"],
] as const) {
  const server = createServer((socket) => {
    seen.push(`${client.startsWith("::ffff:") ? "::ffff:" : ""}${socket.remoteAddress ?? "?"}`);
    socket.end("answer");
  }).listen(2222, host);
  await once(server, "listening");
  const open = (address: string) => openFrom(client, address);
  const socket = (await dial({ kind: "tcp", host, port: 2222 }, { connectTimeoutMs: 3000, open })).socket();
  socket.setEncoding("utf8");
  seen.push(`${seen.pop() ?? "?"} ${(await socket.toArray()).join("")}`);
  socket.destroy();
  server.close();
  await once(server, "close");
}
console.log(JSON.stringify({ missing, seen }));
