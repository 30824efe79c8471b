/** A network that hides its clients is found out by the first ten of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GatewayWatch } from "../../src/identify/gateway-watch.ts";

const gateways = new Set(["172.17.0.1", "fe80::1"]);

const rows: [clients: string[], isSaid: boolean, because: string][] = [
  [Array.from({ length: 10 }, () => "172.17.0.1"), true, "ten clients from the gateway"],
  [Array.from({ length: 10 }, () => "::ffff:172.17.0.1"), true, "a dual-stack listener spells it so"],
  [Array.from({ length: 10 }, () => "fe80::1%eth0"), true, "the gateway's link-local address, with its zone"],
  [Array.from({ length: 9 }, () => "172.17.0.1"), false, "nine may be one person"],
  [
    ["192.0.2.1", ...Array.from({ length: 20 }, () => "172.17.0.1")],
    false,
    "one true address is proof enough",
  ],
  [Array.from({ length: 20 }, () => "192.0.2.1"), false, "one client that is not the gateway"],
  [
    [...Array.from({ length: 9 }, () => "172.17.0.1"), "127.0.0.1", "::1", "172.17.0.1"],
    true,
    "this machine's own clients do not count",
  ],
];
for (const [clients, isSaid, because] of rows) {
  test(`the warning is ${isSaid ? "given once" : "not given"}: ${because}`, () => {
    const watch = new GatewayWatch(gateways);
    const said = clients.map((client) => watch.see(client)).filter((each) => each !== undefined);
    assert.equal(said.length, isSaid ? 1 : 0);
    for (let more = 0; isSaid && more < 20; more++) assert.equal(watch.see("172.17.0.1"), undefined);
  });
}

test("without a gateway nothing is ever said", () => {
  const watch = new GatewayWatch(new Set());
  for (let count = 0; count < 20; count++) assert.equal(watch.see("172.17.0.1"), undefined);
});
