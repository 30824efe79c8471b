import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { ForwardName, ForwardNamesOptions } from "../../src/identify/forward-names.ts";
import { ForwardNames, maxAddresses, maxNames } from "../../src/identify/forward-names.ts";
import type { Answerer, DnsServer, Reply } from "../support/dns-server.ts";
import { startDns } from "../support/dns-server.ts";

/** What DNS says at the moment: name → addresses, or a reply. Others do not exist. */
type Zone = Record<string, readonly string[] | Reply | "silent">;

const answerFrom =
  (zone: Zone, ttl: number): Answerer =>
  ({ name, type }) => {
    const entry = zone[name];
    if (entry === undefined) return { rcode: 3 };
    if (entry === "silent") return undefined;
    if ("rcode" in entry) return entry;
    const addresses = (entry as readonly string[]).filter((each) => each.includes(":") === (type === "AAAA"));
    return { records: addresses.map((data) => ({ type: type === "AAAA" ? "AAAA" : "A", data, ttl })) };
  };

interface World {
  readonly forward: ForwardNames;
  readonly server: DnsServer;
  /** Changing it is changing DNS. */
  readonly zone: Zone;
  readonly pass: (ms: number) => void;
  /** Waits for the next change that is heard of. */
  readonly change: () => Promise<ForwardName>;
}

async function inWorld(
  zone: Zone,
  use: (world: World) => Promise<void>,
  options: Partial<ForwardNamesOptions> & { readonly ttl?: number } = {},
): Promise<void> {
  const server = await startDns(answerFrom(zone, options.ttl ?? 0));
  let shift = 0;
  let heard: ((name: ForwardName) => void) | undefined;
  const forward = new ForwardNames({
    timeoutMs: 200,
    servers: [server.address],
    hostsFile: "",
    minRefreshMs: 20,
    now: () => performance.now() + shift,
    changed: (name) => heard?.(name),
    ...options,
  });
  const change = (): Promise<ForwardName> => new Promise((resolve) => (heard = resolve));
  try {
    await use({ forward, server, zone, pass: (ms) => (shift += ms), change });
  } finally {
    forward.close();
    await server.close();
  }
}

const patience = (): AbortSignal => AbortSignal.timeout(5000);
const home = "home.dyndns.example";

test("F9: a name in the tables is known by all its addresses, in both families", () =>
  inWorld({ [home]: ["192.0.2.1", "192.0.2.2", "2001:db8::1"] }, async ({ forward }) => {
    forward.setNames([home.toUpperCase()]);
    await forward.settled(patience());
    for (const address of ["192.0.2.1", "192.0.2.2", "2001:db8::1", "::ffff:192.0.2.1"]) {
      assert.deepEqual(forward.namesOf(address), [home]);
    }
    for (const address of ["192.0.2.3", "unknown", "localhost", ""])
      assert.deepEqual(forward.namesOf(address), []);
    const [shown] = forward.snapshot();
    assert.deepEqual([shown?.addresses, shown?.status], [["192.0.2.1", "192.0.2.2", "2001:db8::1"], "ok"]);
    assert.ok((shown?.ageMs ?? -1) >= 0);
  }));

test("F9: a new address counts within the lifetime of the record, and the old one no more", () =>
  inWorld({ [home]: ["192.0.2.1"] }, async ({ forward, zone, change }) => {
    forward.setNames([home]);
    await forward.settled(patience());
    const changed = change();
    zone[home] = ["192.0.2.9"];
    assert.deepEqual((await changed).addresses, ["192.0.2.9"]);
    assert.deepEqual(forward.namesOf("192.0.2.9"), [home]);
    assert.deepEqual(forward.namesOf("192.0.2.1"), []);
  }));

test("F9: a record is not asked for again while it lives", () =>
  inWorld(
    { [home]: ["192.0.2.1"] },
    async ({ forward, server }) => {
      forward.setNames([home]);
      await forward.settled(patience());
      for (let n = 0; n < 1000; n++) forward.namesOf("192.0.2.1");
      forward.setNames([home, "other.example"]);
      await forward.settled(patience());
      assert.equal(server.asked.filter(({ name }) => name === home).length, 2); // A and AAAA
    },
    { ttl: 300 },
  ));

for (const [what, away] of [
  ["is silent", "silent"],
  ["is broken", { rcode: 2 }],
  ["refuses", { rcode: 5 }],
] as const) {
  test(`F9: while DNS ${what} the last good addresses stay, with their age, and three days at most`, () =>
    inWorld({ [home]: ["192.0.2.1"] }, async ({ forward, zone, pass, change }) => {
      forward.setNames([home]);
      await forward.settled(patience());
      zone[home] = away;
      const until = async (found: () => boolean): Promise<void> => {
        const limit = patience();
        while (!found() && !limit.aborted) await new Promise((resolve) => setTimeout(resolve, 10));
        assert.ok(found());
      };
      await until(() => forward.snapshot()[0]?.status !== "ok");
      pass(3_600_000);
      const [shown] = forward.snapshot();
      assert.deepEqual(shown?.addresses, ["192.0.2.1"]);
      assert.ok((shown.ageMs ?? 0) >= 3_600_000);
      assert.deepEqual(forward.namesOf("192.0.2.1"), [home]);
      const changed = change();
      pass(3 * 24 * 3_600_000);
      forward.setNames([home]); // looks at the clock
      assert.deepEqual((await changed).addresses, []);
    }));
}

test("F9: a name that DNS says is gone has no address from then on: it may be another's by now", () =>
  inWorld({ [home]: ["192.0.2.1"] }, async ({ forward, zone, change }) => {
    forward.setNames([home]);
    await forward.settled(patience());
    const changed = change();
    delete zone[home];
    assert.deepEqual((await changed).addresses, []);
    assert.deepEqual(forward.namesOf("192.0.2.1"), []);
    assert.equal(forward.snapshot()[0]?.status, "nxdomain");
  }));

test(`F9: of 200 addresses ${maxAddresses} count`, () =>
  inWorld({ [home]: Array.from({ length: 200 }, (_, n) => `192.0.2.${n}`) }, async ({ forward }) => {
    forward.setNames([home]);
    await forward.settled(patience());
    assert.equal(forward.snapshot()[0]?.addresses.length, maxAddresses);
  }));

test("F9: loopback, unspecified and multicast answers do not count", () =>
  inWorld(
    {
      [home]: ["127.0.0.1", "0.0.0.0", "224.0.0.1", "::1", "::", "ff02::1", "::ffff:127.0.0.1", "192.0.2.1"],
    },
    async ({ forward }) => {
      forward.setNames([home]);
      await forward.settled(patience());
      assert.deepEqual(forward.snapshot()[0]?.addresses, ["192.0.2.1"]);
      assert.deepEqual(forward.namesOf("127.0.0.1"), []);
    },
  ));

test("a name that has left the tables is forgotten, and an address may belong to several names", () =>
  inWorld({ [home]: ["192.0.2.1"], "two.example": ["192.0.2.1"] }, async ({ forward }) => {
    forward.setNames([home, "two.example"]);
    await forward.settled(patience());
    assert.deepEqual([...forward.namesOf("192.0.2.1")].sort(), [home, "two.example"]);
    forward.setNames(["two.example"]);
    assert.deepEqual(forward.namesOf("192.0.2.1"), ["two.example"]);
    forward.setNames([]);
    assert.deepEqual(forward.namesOf("192.0.2.1"), []);
    assert.deepEqual(forward.snapshot(), []);
  }));

test("what is no host name is not asked for, and the number of names is bounded", () =>
  inWorld({}, async ({ forward, server }) => {
    assert.equal(
      forward.setNames(["192.0.2.1", ".example", "a b", "$(x).example", "", "10", "a..b", "-x.example"]),
      0,
    );
    await forward.settled(patience());
    assert.deepEqual(server.asked, []);
    const many = Array.from({ length: maxNames + 5 }, (_, n) => `n${n}.example`);
    assert.equal(forward.setNames(many), 5);
    assert.equal(forward.snapshot().length, maxNames);
  }));

test("the hosts file comes first", async () => {
  const folder = mkdtempSync(join(tmpdir(), "forward-"));
  const hostsFile = join(folder, "hosts");
  writeFileSync(hostsFile, "192.0.2.50 printer other\n");
  try {
    await inWorld(
      { other: ["192.0.2.60"] },
      async ({ forward }) => {
        forward.setNames(["other"]);
        await forward.settled(patience());
        assert.deepEqual(forward.namesOf("192.0.2.50"), ["other"]);
        assert.deepEqual(forward.namesOf("192.0.2.60"), []);
      },
      { hostsFile },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("settled waits no longer than its signal", () =>
  inWorld({ [home]: "silent" }, async ({ forward }) => {
    forward.setNames([home]);
    await forward.settled(AbortSignal.timeout(20));
    assert.equal(forward.snapshot()[0]?.status, "pending");
    await forward.settled(AbortSignal.abort());
  }));
