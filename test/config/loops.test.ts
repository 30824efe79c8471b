/** Services whose clients would come back to them are found before the daemon starts. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { printDiagnostic } from "../../src/cli/settings.ts";
import { readConfiguration } from "../../src/config/configuration.ts";

type Services = Record<string, { listen: string[]; backend: string }>;

const rows: [because: string, services: Services, loops: string[]][] = [
  ["the same address and port", { sshd: { listen: ["127.0.0.1:22"], backend: "127.0.0.1:22" } }, ["sshd"]],
  [
    "a wildcard and a loopback address",
    { sshd: { listen: ["0.0.0.0:22"], backend: "127.0.0.1:22" } },
    ["sshd"],
  ],
  ["a dual-stack wildcard", { sshd: { listen: ["[::]:22"], backend: "localhost:22" } }, ["sshd"]],
  ["an IPv6 wildcard", { sshd: { listen: ["[::]:22"], backend: "[::1]:22" } }, ["sshd"]],
  ["a unix socket", { mysqld: { listen: ["unix:/run/my"], backend: "unix:/run/my" } }, ["mysqld"]],
  [
    "over another service",
    {
      one: { listen: ["127.0.0.1:1"], backend: "127.0.0.1:2" },
      two: { listen: ["127.0.0.1:2"], backend: "127.0.0.1:1" },
    },
    ["one", "two"],
  ],
  ["another port", { sshd: { listen: ["0.0.0.0:22"], backend: "127.0.0.1:2222" } }, []],
  ["another address", { sshd: { listen: ["192.0.2.1:22"], backend: "127.0.0.1:22" } }, []],
  ["an IPv4 wildcard does not take IPv6", { sshd: { listen: ["0.0.0.0:22"], backend: "[::1]:22" } }, []],
  ["a port that the kernel chooses", { sshd: { listen: ["127.0.0.1:0"], backend: "127.0.0.1:1" } }, []],
  [
    "one service before another ends there",
    {
      one: { listen: ["127.0.0.1:1"], backend: "127.0.0.1:2" },
      two: { listen: ["127.0.0.1:2"], backend: "127.0.0.1:3" },
    },
    [],
  ],
];

for (const [because, services, loops] of rows) {
  test(`H10: a backend that is ourselves is ${loops.length > 0 ? "found" : "not seen"}: ${because}`, () => {
    const { diagnostics } = readConfiguration({ name: "x.yaml", text: JSON.stringify({ services }) }, []);
    const found = diagnostics.map(printDiagnostic);
    assert.equal(found.length, loops.length, found.join("\n"));
    for (const [index, name] of loops.entries())
      assert.match(
        found[index] ?? "",
        new RegExp(`"services.${name}.backend": the backend is a listener of this daemon`),
      );
  });
}
