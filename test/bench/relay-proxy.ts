/** The least that a relay needs around it, to measure the relay alone: node relay-proxy.ts PORT BACKENDPORT [fast|reference]. */

import { createServer } from "node:net";

import { chooseRelay, type RelayChoice } from "../../src/relay/choose.ts";
import { Wire } from "../../src/platform/wire.ts";
import { dial } from "../../src/relay/dial.ts";
import { reset } from "../../src/platform/reset.ts";

const [port, backendPort, choice = "auto"] = process.argv.slice(2);
const { relay, name, why } = await chooseRelay(choice as RelayChoice);
const backendAddress = { kind: "tcp", host: "127.0.0.1", port: Number(backendPort) } as const;

const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
  client.on("error", () => {});
  dial(backendAddress, { connectTimeoutMs: 5000 }).then(
    (backend) => relay(Wire.of(client), backend, { idleMs: 0 }),
    () => reset(client),
  );
});
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 }, () =>
  console.log(`ready: ${name} (${why})`),
);
