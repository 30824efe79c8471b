/** Backends by name: the hosts file, lifetimes, and DNS in trouble. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { BackendNames } from "../../src/relay/backend-names.ts";
import { startDns, type Answerer, type DnsServer } from "../support/dns-server.ts";

interface Lab {
  readonly names: BackendNames;
  readonly dns: DnsServer;
  readonly hostsFile: string;
  readonly pass: (ms: number) => void;
}

async function lab(t: TestContext, answer: Answerer): Promise<Lab> {
  const folder = mkdtempSync(join(tmpdir(), "names-"));
  const hostsFile = join(folder, "hosts");
  const dns = await startDns(answer);
  let nowMs = 0;
  const names = new BackendNames({ servers: [dns.address], hostsFile, now: () => nowMs });
  t.after(async () => {
    names.close();
    await dns.close();
    rmSync(folder, { recursive: true });
  });
  return { names, dns, hostsFile, pass: (ms) => void (nowMs += ms) };
}

const record = (type: "A" | "AAAA", data: string, ttl: number) => ({ type, data, ttl }) as const;

test("H4: addresses come IPv4 first, each family in the order of the answer", async (t) => {
  const { names } = await lab(t, ({ type }) =>
    type === "A"
      ? { records: [record("A", "192.0.2.9", 60), record("A", "192.0.2.1", 60)] }
      : { records: [record("AAAA", "2001:db8::1", 60)] },
  );
  assert.deepEqual(await names.resolve("db.example"), ["192.0.2.9", "192.0.2.1", "2001:db8::1"]);
});

test("H5: a name is asked for again when the shortest lifetime of its records is over", async (t) => {
  let address = "192.0.2.1";
  const { names, dns, pass } = await lab(t, ({ type }) =>
    type === "A"
      ? { records: [record("A", address, 30)] }
      : { records: [record("AAAA", "2001:db8::1", 3600)] },
  );
  assert.equal((await names.resolve("db.example"))[0], "192.0.2.1");
  address = "192.0.2.2";
  pass(29_999);
  assert.equal((await names.resolve("DB.example."))[0], "192.0.2.1");
  assert.equal(dns.asked.length, 2);
  pass(1);
  assert.equal((await names.resolve("db.example"))[0], "192.0.2.2");
});

test("a lifetime of 0 is one second, not a question for every connection", async (t) => {
  const { names, dns, pass } = await lab(t, ({ type }) => ({
    records: type === "A" ? [record("A", "192.0.2.1", 0)] : [],
  }));
  await Promise.all(Array.from({ length: 20 }, () => names.resolve("db.example")));
  assert.equal(dns.asked.length, 2);
  pass(999);
  await names.resolve("db.example");
  assert.equal(dns.asked.length, 2);
});

test("H5: when DNS is in trouble the last answer goes on", async (t) => {
  let isDown = false;
  const { names, pass } = await lab(t, ({ type }) =>
    isDown ? { rcode: 2 } : { records: type === "A" ? [record("A", "192.0.2.1", 5)] : [] },
  );
  await names.resolve("db.example");
  isDown = true;
  pass(10_000);
  assert.deepEqual(await names.resolve("db.example"), ["192.0.2.1"]);
  pass(2 * 86_400_000);
  await assert.rejects(names.resolve("db.example"), { code: "ESERVFAIL" });
});

/** What it gives, and how long that took. */
async function timed<Value>(work: Promise<Value>): Promise<{ readonly value: Value; readonly ms: number }> {
  const startedMs = performance.now();
  return { value: await work, ms: performance.now() - startedMs };
}

test("H5: when DNS falls silent the last answer is given soon, then at once, until DNS is heard again", async (t) => {
  let address: string | undefined = "192.0.2.1";
  const { names, dns, pass } = await lab(t, ({ type }) => {
    if (address === undefined) return undefined;
    return { records: type === "A" ? [record("A", address, 5)] : [] };
  });
  await names.resolve("db.example");
  address = undefined;
  pass(5000);
  const first = await timed(Promise.all([names.resolve("db.example"), names.resolve("db.example")]));
  assert.deepEqual(first.value, [["192.0.2.1"], ["192.0.2.1"]]);
  assert.ok(first.ms < 2500, `${first.ms} ms`); // a question that fails takes 4 s
  const asked = dns.asked.length;
  assert.deepEqual(await names.resolve("db.example"), ["192.0.2.1"]);
  assert.equal(dns.asked.length, asked, "within its 5 s nobody asks again");
  pass(5000);
  const nextTurn = new Promise((resolve) => setImmediate(resolve, "waited"));
  assert.deepEqual(await Promise.race([names.resolve("db.example"), nextTurn]), ["192.0.2.1"]);
  address = "192.0.2.2";
  // The question that is open is repeated by the resolver; its answer counts from then on.
  while ((await names.resolve("db.example"))[0] !== "192.0.2.2") {
    await new Promise((resolve) => setTimeout(resolve, 50));
    pass(50);
  }
});

test("H5: a name that has never been answered fails before a dial's limit where DNS is silent", async (t) => {
  const { names } = await lab(t, () => undefined);
  const { ms } = await timed(assert.rejects(names.resolve("db.example"), { code: "ETIMEOUT" }));
  assert.ok(ms < 5000, `${ms} ms`);
});

for (const [answered, address] of [
  ["A", "192.0.2.1"],
  ["AAAA", "2001:db8::1"],
] as const)
  test(`H5: a server that answers ${answered} and drops the other question is not waited for`, async (t) => {
    const { names, pass } = await lab(t, ({ type }) =>
      type === answered ? { records: [record(answered, address, 30)] } : undefined,
    );
    for (const _connection of [1, 2]) {
      const { value, ms } = await timed(names.resolve("db.example"));
      assert.deepEqual(value, [address]);
      assert.ok(ms < 2500, `${ms} ms`); // a question that fails takes 4 s
      pass(30_000);
    }
  });

test("the hosts file comes before DNS, and is read again when it has changed", async (t) => {
  const { names, dns, hostsFile, pass } = await lab(t, () => ({ rcode: 3 }));
  writeFileSync(hostsFile, "::1 db.example # ours\n127.0.0.1 localhost DB.example\nnonsense db.example\n");
  assert.deepEqual(await names.resolve("db.example"), ["127.0.0.1", "::1"]);
  writeFileSync(hostsFile, "127.0.0.77 db.example\n");
  pass(1000);
  assert.deepEqual(await names.resolve("db.example"), ["127.0.0.77"]);
  assert.equal(dns.asked.length, 0);
});

test("a name that nobody knows is an error with a code", async (t) => {
  const { names } = await lab(t, () => ({ rcode: 3 }));
  await assert.rejects(names.resolve("no-such-name.invalid"), { code: "ENOTFOUND" });
});
