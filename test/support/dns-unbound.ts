/** A real unbound on a free port of 127.0.0.1, with the zones of a test. */

import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

export interface Unbound {
  /** For `setServers`. */
  readonly address: string;
  readonly port: number;
  readonly close: () => Promise<void>;
}

/**
 * Starts unbound and waits until it answers.
 *
 * @param folder for its files
 * @param zones file text of each zone that it is the authority for, by name
 * @param server further lines of its `server:` section, such as local zones
 */
export async function startUnbound(
  folder: string,
  zones: Readonly<Record<string, string>>,
  server: readonly string[] = [],
): Promise<Unbound> {
  for (let tries = 5; ; tries--) {
    try {
      return await startOnce(folder, zones, server);
    } catch (error) {
      if (tries === 0 || !String(error).includes("Address already in use")) throw error; // somebody else's by now
    }
  }
}

async function startOnce(
  folder: string,
  zones: Readonly<Record<string, string>>,
  server: readonly string[],
): Promise<Unbound> {
  const port = await freePort();
  const lines = [
    "server:",
    `  interface: 127.0.0.1@${port}`,
    '  username: ""',
    '  chroot: ""',
    `  directory: "${folder}"`,
    "  use-syslog: no",
    "  verbosity: 1",
    "  do-daemonize: no",
    "  do-not-query-localhost: no",
    "  module-config: iterator",
    "  access-control: 127.0.0.0/8 allow",
    "  local-zone: test. nodefault",
    "  local-zone: 2.0.192.in-addr.arpa. nodefault",
    "  local-zone: 8.b.d.0.1.0.0.2.ip6.arpa. nodefault",
    "  rrset-roundrobin: no",
    ...server.map((line) => `  ${line}`),
    "remote-control:",
    "  control-enable: no",
  ];
  for (const [name, text] of Object.entries(zones)) {
    const file = join(folder, `${name}.zone`);
    writeFileSync(
      file,
      `$ORIGIN ${name}.\n$TTL 300\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n${text}\n`,
    );
    lines.push(
      "auth-zone:",
      `  name: ${name}.`,
      `  zonefile: "${file}"`,
      "  for-downstream: yes",
      "  for-upstream: yes",
      "  fallback-enabled: no",
    );
  }
  // A zone whose data never came is answered with SERVFAIL.
  lines.push(
    "auth-zone:",
    "  name: 6.0.192.in-addr.arpa.",
    "  primary: 127.0.0.1@1",
    "  fallback-enabled: no",
  );
  lines.push("forward-zone:", "  name: .", "  forward-addr: 127.0.0.1@1"); // nobody there: never ask the world
  const config = join(folder, "unbound.conf");
  writeFileSync(config, `${lines.join("\n")}\n`);
  const process = spawn("unbound", ["-d", "-p", "-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(process, "exit");
  let said = "";
  const log = createInterface({ input: process.stderr });
  await new Promise<void>((resolve, reject) => {
    log.on("line", (line) => {
      said += `${line}\n`;
      if (line.includes("start of service")) resolve();
    });
    process.on("error", reject);
    void exited.then(() => reject(new Error(`unbound did not start: ${said}`)));
  });
  return {
    address: `127.0.0.1:${port}`,
    port,
    close: async () => {
      process.kill();
      await exited;
      log.close();
    },
  };
}

/** A port that was free a moment ago, for UDP and likely for TCP; unbound cannot tell which one it took itself. */
async function freePort(): Promise<number> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}
