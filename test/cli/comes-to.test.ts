/** Which backends are listeners of our own. */

import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { test } from "node:test";
import { comesTo } from "../../src/cli/comes-to.ts";
import {
  type BackendEndpoint,
  type ListenEndpoint,
  parseBackend,
  parseListen,
} from "../../src/listen/endpoint.ts";
import { ownAddresses } from "../../src/platform/interfaces.ts";

const own = new Set(["127.0.0.1", "192.0.2.7", "::1", "2001:db8::7"]);

const rows: [listener: string, target: string, comes: boolean, because: string][] = [
  ["127.0.0.1:22", "127.0.0.1:22", true, "the same address"],
  ["127.0.0.1:22", "127.0.0.1:23", false, "another port"],
  ["127.0.0.1:22", "127.0.0.2:22", false, "another address of ours"],
  ["127.0.0.1:22", "localhost:22", true, "its name"],
  ["0.0.0.0:22", "127.0.0.2:22", true, "all of loopback is ours"],
  ["0.0.0.0:22", "0.0.0.0:22", true, "which the kernel takes for loopback"],
  ["0.0.0.0:22", "[::1]:22", false, "IPv4 only"],
  ["[::]:22", "127.0.0.1:22", true, "it has the clients of IPv4 too"],
  ["0.0.0.0:22", "192.0.2.7:22", true, "an address of this machine"],
  ["[::]:22", "192.0.2.7:22", true, "an address of this machine"],
  ["[::]:22", "[2001:db8:0::7]:22", true, "an address of this machine, however it is written"],
  ["0.0.0.0:22", "[::ffff:192.0.2.7]:22", true, "an address of this machine, mapped"],
  ["0.0.0.0:22", "[2001:db8::7]:22", false, "IPv4 only"],
  ["0.0.0.0:22", "192.0.2.8:22", false, "an address of another machine"],
  ["192.0.2.7:22", "127.0.0.1:22", false, "another address of this machine"],
  ["0.0.0.0:22", "db.example:22", false, "a name is believed to lead elsewhere"],
  ["udp:0.0.0.0:69", "udp:192.0.2.7:69", true, "datagrams too"],
  ["0.0.0.0:69", "udp:192.0.2.7:69", false, "datagrams do not come to a connection's port"],
  ["unix:/run/a", "unix:/run/a", true, "the same path"],
  ["unix:/run/a", "unix:/run/b", false, "another path"],
  ["systemd:ssh", "127.0.0.1:22", false, "nobody knows where it listens"],
];
for (const [listener, target, comes, because] of rows)
  test(`H10: ${target} ${comes ? "comes" : "does not come"} to ${listener}: ${because}`, () => {
    const [listening, backend] = [parseListen(listener), parseBackend(target)];
    assert.ok("value" in listening && "value" in backend);
    const [place, led]: [ListenEndpoint, BackendEndpoint] = [listening.value, backend.value];
    assert.equal(comesTo(place, led, own), comes);
  });

test("H10: the addresses of this machine are those of its interfaces", () => {
  const known = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  assert.ok(known.length > 0);
  assert.deepEqual(
    known.filter(({ address }) => !ownAddresses().has(address.split("%", 1)[0] ?? "")),
    [],
  );
});
