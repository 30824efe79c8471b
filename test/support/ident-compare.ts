/**
 * Asks libwrap and us for the user behind the same connections, at an ident server with every odd answer, and prints where we
 * differ.
 *
 * Runs in a network namespace of its own: port 113 of 127.0.0.1 is the test's. Argument: the program built from
 * ident-libwrap.c. Prints one JSON object.
 */

import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import { askIdent } from "../../src/identify/ident.ts";
import { startIdent } from "./ident-server.ts";

const serverPort = 22;

/** By the client's port, from `firstPort` on; `ports` is the query. */
const replies: readonly ((ports: string) => string | Buffer)[] = [
  (ports) => `${ports}:USERID:UNIX:bob\r\n`,
  (ports) => `${ports}:USERID:UNIX:bob\n`,
  (ports) => `${ports}:USERID:UNIX:bob`,
  (ports) => `${ports} : USERID : UNIX : bob\r\n`,
  (ports) => ` ${ports.replace(",", " , ")}:USERID:UNIX:bob\r\n`,
  (ports) => `\t${ports.replace(",", "\t,\t")}\t:\tUSERID\t:\tUNIX\t:\tbob\r\n`,
  (ports) => `${ports.replace(",", ",0")}:USERID:UNIX:bob\r\n`,
  (ports) => `0${ports}:USERID:UNIX:bob\r\n`,
  (ports) => `+${ports}:USERID:UNIX:bob\r\n`,
  (ports) => `${ports}:USERID:UNIX,US-ASCII:bob\r\n`,
  (ports) => `${ports}:USERID::bob\r\n`,
  (ports) => `${ports}:USERID: :bob\r\n`,
  (ports) => `${ports}:USERID:UNIX:\r\n`,
  (ports) => `${ports}:USERID:UNIX:   \r\n`,
  (ports) => `${ports}:USERID:UNIX\r\n`,
  (ports) => `${ports}:USERID:UNIX:bob alice\r\n`,
  (ports) => `${ports}:USERID:UNIX:  bob\r\n`,
  (ports) => `${ports}:USERID:UNIX:bob\t\r\n`,
  (ports) => `${ports}:userid:UNIX:bob\r\n`,
  (ports) => `${ports}:USERIDX:UNIX:bob\r\n`,
  (ports) => `${ports}:ERROR:NO-USER\r\n`,
  (ports) => `${ports}:ERROR:HIDDEN-USER:bob\r\n`,
  (ports) => `${ports}:USERID:UNIX:unknown\r\n`,
  () => "1,2:USERID:UNIX:bob\r\n",
  (ports) => `${ports.split(",").reverse().join(",")}:USERID:UNIX:bob\r\n`,
  () => "\r\n",
  (ports) => `\r\n${ports}:USERID:UNIX:bob\r\n`,
  (ports) => `${ports}:USERID:UNIX:bob\r\n${ports}:USERID:UNIX:eve\r\n`,
  () => "",
  () => "nonsense\r\n",
  (ports) => `${ports}:USERID:UNIX:${"u".repeat(126)}\r\n`,
  (ports) => `${ports}:USERID:UNIX:${"u".repeat(127)}\r\n`,
  (ports) => `${ports}:USERID:UNIX:${"u".repeat(128)}\r\n`,
  (ports) => `${ports}:USERID:UNIX:${"u".repeat(300)}\r\n`,
  (ports) => `${ports}:USERID:UNIX:${"u".repeat(600)}\r\n`,
  (ports) => `${ports}:USERID:${"x".repeat(600)}:bob\r\n`,
  (ports) => `${ports}:USERID:${"x".repeat(470)}:bob\r\n`,
  (ports) => `${" ".repeat(600)}${ports}:USERID:UNIX:bob\r\n`,
  () => Buffer.alloc(100_000, "x"),
  (ports) => `${ports}:USERID:UNIX:a:b\r\n`,
  (ports) => `${ports}:USERID:UNIX:$(reboot)\r\n`,
  (ports) => `${ports}:USERID:UNIX:b\u00f6b\r\n`,
  (ports) => `${ports}:USERID:UNIX:\u001b[2J\r\n`,
  (ports) => `${ports}:USERID:UNIX:bob@host\r\n`,
  (ports) => `${ports}:USERID:UNIX:Bob_the-2.nd\r\n`,
  (ports) => `${ports}:USERID:UNIX:bob\r\r\n`,
  (ports) => `${ports}:USERID:UNIX:bo\rb\r\n`,
  (ports) => `${ports}:USERID\t:UNIX:bob\r\n`,
  (ports) => `${ports}:USERID:UNIX:-\r\n`,
  (ports) => `${ports}:USERID:\u000b:bob\r\n`,
];
const firstPort = 40_000;

const server = await startIdent(
  (socket: Socket, ports) => {
    const reply = replies[Number(ports.split(",", 1)[0]) - firstPort];
    if (reply === undefined) socket.destroy();
    else socket.end(reply(ports), "latin1");
  },
  "127.0.0.1",
  113,
);

const libwrap = spawn(process.argv[2] ?? "", { stdio: ["pipe", "pipe", "ignore"] });
libwrap.stdin.end(replies.map((_, at) => `${firstPort + at} ${serverPort}\n`).join(""));
const theirs: string[] = [];
const output = createInterface({ input: libwrap.stdout.setEncoding("latin1") });
for await (const line of output) theirs.push(line);

const differences: object[] = [];
const counts: Record<string, number> = {};
for (const [at, reply] of replies.entries()) {
  const ours = await askIdent({
    client: { address: "127.0.0.1", port: firstPort + at },
    server: { address: "127.0.0.2", port: serverPort },
    port: 113,
    signal: AbortSignal.timeout(2000),
  });
  const their = theirs[at] ?? "missing";
  const kind = ours === "unknown" ? "unknown" : "a user";
  counts[kind] = (counts[kind] ?? 0) + 1;
  // Declared: a user with bytes other than letters, digits, hyphen, underscore and dot is unknown.
  const declared = /^[A-Za-z0-9._-]+$/.test(their) ? their : "unknown";
  const said = reply(`${firstPort + at},${serverPort}`)
    .toString("latin1")
    .slice(0, 60);
  if (ours !== declared) differences.push({ said, libwrap: their, ours });
}
const queries = server.asked.map(
  ({ query, from, to }) => `${JSON.stringify(query.replace(/^\d+/, "N"))} ${from} ${to}`,
);
await server.close();
process.stdout.write(
  JSON.stringify({ compared: replies.length, counts, queries: [...new Set(queries)], differences }),
);
