/** `tcpwrapd demo`: a daemon with a backend of its own, and what to type to see it at work. */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { AddCommand, Io } from "./io.ts";
import { runDaemon } from "./run.ts";
import { readSettings } from "./settings.ts";

const listen = "127.0.0.1:2222";

/** Adds the command. */
export const demoCommand: AddCommand = (parser, io, exit) =>
  parser.command(
    "demo",
    `try it: front a built-in backend on ${listen} with the tables in config/demo`,
    (command) => command.example("$0 demo", "then type what it prints, in a second terminal"),
    async () => exit(await demo(io)),
  );

async function demo(io: Io): Promise<number> {
  const tables = fileURLToPath(new URL("../../config/demo/", import.meta.url));
  const backend = await startBackend();
  try {
    const { port } = backend.address() as AddressInfo;
    const settings = await readSettings(
      {
        config: "/dev/null",
        allowFile: `${tables}hosts.allow`,
        denyFile: `${tables}hosts.deny`,
        service: [`sshd=${listen},127.0.0.1:${port}`],
        workers: 0,
        controlSocket: `/tmp/tcpwrapd-demo-${port}.sock`,
        logFormat: io.output.isTTY === true ? "pretty" : "text",
      },
      {},
    );
    return await runDaemon(
      async () => settings,
      "info",
      io,
      () => io.output.write(instructions(relative(".", tables))),
    );
  } finally {
    backend.close();
    backend.closeAllConnections();
  }
}

/** A backend that greets over HTTP, because curl is on every machine; the daemon only sees bytes. */
async function startBackend(): Promise<Server> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "text/plain", connection: "close" });
    response.end("Hello from the backend: hosts.allow let you in.\n");
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return server;
}

function instructions(tables: string): string {
  return `
tcpwrapd stands on ${listen} as "sshd", before a small backend. Its tables are in ${tables}.
In a second terminal, in this folder:

  1. A client that may come in:
       curl http://${listen}/
  2. One that may not: from another address of this machine. It is reset:
       curl --interface 127.0.0.66 http://${listen}/
  3. An edit that counts for the next connection, and back again:
       sed -i 's/127.0.0.66/127.0.0.1/' ${tables}/hosts.allow && curl http://${listen}/
       sed -i 's/EXCEPT 127.0.0.1/EXCEPT 127.0.0.66/' ${tables}/hosts.allow && curl http://${listen}/
  4. What would happen to somebody else, without being them:
       node dist/main.js match --allow-file ${tables}/hosts.allow --deny-file ${tables}/hosts.deny sshd 192.0.2.7

The records appear below. Ctrl-C ends it.

`;
}
