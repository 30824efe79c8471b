/**
 * Accepts connections of every kind, and prints what libwrap and we call their ends.
 *
 * Runs in a network namespace of its own with the addresses that the test gives to "lo". Arguments: the program built from
 * ident-endpoints.c, and a path for a unix socket. Prints one JSON array.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Lookups } from "../../src/identify/lookups.ts";
import { requestOf } from "../../src/identify/request.ts";

const [program = "", path = ""] = process.argv.slice(2);
const names = {
  reverse: "needed",
  timeoutMs: 300,
  servers: ["127.0.0.1:1"],
  hostsFile: "/etc/hosts",
} as const;
const lookups = new Lookups({ ...names, identTimeoutMs: 100 });

interface Kind {
  readonly what: string;
  readonly listen: { readonly host: string } | { readonly path: string };
  readonly from?: string;
  readonly to?: string;
  /** The client resets its connection before anybody looks. */
  readonly isGone?: true;
}

const kinds: readonly Kind[] = [
  { what: "IPv4", listen: { host: "127.0.0.1" }, from: "127.0.0.66", to: "127.0.0.1" },
  { what: "IPv4, another address", listen: { host: "10.5.0.1" }, from: "10.5.0.2", to: "10.5.0.1" },
  { what: "IPv4 on a listener for both", listen: { host: "::" }, from: "127.0.0.5", to: "127.0.0.1" },
  { what: "IPv6", listen: { host: "fd00:5::1" }, from: "fd00:5::2", to: "fd00:5::1" },
  { what: "IPv6 loopback", listen: { host: "::" }, from: "::1", to: "::1" },
  {
    what: "IPv6 with one group of zeros",
    listen: { host: "::" },
    from: "fd00:5:1:2:3:0:5:6",
    to: "fd00:5::1",
  },
  {
    what: "IPv6 with two runs of zeros",
    listen: { host: "::" },
    from: "fd00:0:0:1:0:0:0:7",
    to: "fd00:5::1",
  },
  { what: "link-local", listen: { host: "fe80::1%lo" }, from: "fe80::2%lo", to: "fe80::1%lo" },
  { what: "unix", listen: { path } },
  { what: "gone", listen: { host: "127.0.0.1" }, from: "127.0.0.66", to: "127.0.0.1", isGone: true },
];

const seen: object[] = [];
for (const { what, listen, from, to, isGone } of kinds) {
  const server = createServer({ pauseOnConnect: true });
  server.listen("path" in listen ? listen : { ...listen, port: 0 });
  await once(server, "listening");
  const arrival = once(server, "connection");
  const client = connect(
    "path" in listen
      ? { path }
      : {
          host: to ?? "",
          port: (server.address() as AddressInfo).port,
          ...(from !== undefined && { localAddress: from }),
        },
  );
  client.on("error", () => {});
  await once(client, "connect");
  const [socket] = (await arrival) as [Socket];
  socket.on("error", () => {});
  if (isGone === true) {
    client.resetAndDestroy();
    while (socket.remoteAddress !== undefined) await new Promise((resolve) => setImmediate(resolve));
  }
  const request = requestOf(socket, "test");
  const libwrap = spawn(program, { stdio: [socket, "pipe", "inherit"] });
  let said = "";
  libwrap.stdout?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await once(libwrap, "close");
  const named = request && (await lookups.find({ kind: "clientName" }, request, AbortSignal.timeout(2000)));
  const ours = named && [named.client.address, named.server.address, named.client.name];
  seen.push({ what, libwrap: said.trim().split("\t"), ours: ours ?? "refused: aborted" });
  socket.destroy();
  client.destroy();
  server.close();
  await once(server, "close");
}
lookups.close();
process.stdout.write(JSON.stringify(seen));
