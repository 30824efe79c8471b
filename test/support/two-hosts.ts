/** Two hosts of a test's own: network namespaces joined by a cable, without any way to another network. Needs root. */

import { execFileSync } from "node:child_process";
import type { TestContext } from "node:test";

/** One host; `enter` is what stands before a program that runs there. */
export interface Host {
  readonly enter: readonly string[];
  readonly ipv4: string;
  readonly ipv6: string;
  /** Runs a line of shell there, as root. Throws where it fails. */
  readonly sh: (line: string) => string;
}

let made = 0;

/** A server and a client, whose addresses the server does not have. */
export function makeTwoHosts(t: TestContext): { readonly server: Host; readonly client: Host } {
  made += 1;
  const name = (host: string): string => `tw${process.pid}-${made}-${host}`;
  const hosts = ["s", "c"].map(name);
  t.after(() => {
    for (const host of hosts) execFileSync("ip", ["netns", "del", host]);
  });
  for (const host of hosts) execFileSync("ip", ["netns", "add", host]);
  const [server, client] = [hostOf(name("s"), 1), hostOf(name("c"), 11)];
  server.sh(`ip link add eth0 type veth peer name eth0 netns ${name("c")}`);
  for (const { sh, ipv4, ipv6 } of [server, client]) {
    sh(`ip link set lo up; ip addr add ${ipv4}/24 dev eth0; ip addr add ${ipv6}/64 dev eth0 nodad`);
    sh("ip link set eth0 up");
  }
  return { server, client };
}

function hostOf(name: string, number: number): Host {
  const enter = ["/usr/bin/nsenter", `--net=/run/netns/${name}`];
  const [program = "", ...args] = enter;
  return {
    enter,
    ipv4: `198.51.100.${number}`,
    ipv6: `fd00:7b::${number}`,
    sh: (line) => execFileSync(program, [...args, "sh", "-ec", line], { encoding: "utf8" }),
  };
}
