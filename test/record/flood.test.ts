import assert from "node:assert/strict";
import { mock, test } from "node:test";

import * as fc from "fast-check";

import { Flood } from "../../src/record/flood.ts";
import { Journal } from "../../src/record/journal.ts";
import type { LogRecord, RefuseFields, SuppressedFields } from "../../src/record/records.ts";

function refusal(address: string, service = "sshd"): RefuseFields {
  return {
    event: "refuse",
    service,
    daemon: service,
    id: "1",
    client: { address },
    server: { address: "192.0.2.9" },
    reason: "rule",
    decisionMs: 0,
  };
}

test("I10: the first of each source are written in full, the rest is one summary with the exact number at the end of the period", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const summaries: SuppressedFields[] = [];
    const flood = new Flood({ perSource: 3, periodMs: 10_000 }, (fields) => summaries.push(fields));
    const admitted = Array.from({ length: 50_000 }, () => flood.admits(refusal("192.0.2.1"))).filter(
      Boolean,
    ).length;
    assert.equal(admitted, 3);
    assert.ok(flood.admits(refusal("192.0.2.2")), "another source is not concerned");
    assert.ok(flood.admits(refusal("192.0.2.1", "mysqld")), "another service is not concerned");
    mock.timers.tick(9_999);
    assert.deepEqual(summaries, []);
    mock.timers.tick(1);
    assert.deepEqual(summaries, [
      {
        event: "suppressed",
        service: "sshd",
        daemon: "sshd",
        client: { address: "192.0.2.1" },
        refusals: 49_997,
        periodMs: 10_000,
      },
    ]);
    assert.ok(flood.admits(refusal("192.0.2.1")), "a new period begins with the next refusal");
    mock.timers.tick(10_000);
    assert.equal(summaries.length, 1, "nothing was suppressed in it");
  } finally {
    mock.timers.reset();
  }
});

const sources: [addresses: string[], source: string | undefined, because: string][] = [
  [["2001:db8::1", "2001:db8::2"], "2001:db8::/64", "I2: one IPv6 /64 is one source"],
  [["2001:db8::1", "2001:db8:0:1::1"], undefined, "another /64 is another source"],
  [["192.0.2.1", "::ffff:192.0.2.1"], "192.0.2.1", "a mapped address is its IPv4 address"],
  [["192.0.2.1", "192.0.2.2"], undefined, "every IPv4 address is a source"],
  [["unknown", "unknown"], "unknown", "an address that is none"],
];
for (const [addresses, source, because] of sources) {
  test(`${addresses.join(" and ")}: ${because}`, () => {
    const summaries: SuppressedFields[] = [];
    const flood = new Flood({ perSource: 1, periodMs: 1000 }, (fields) => summaries.push(fields));
    const admitted = addresses.map((address) => flood.admits(refusal(address)));
    flood.flush();
    assert.deepEqual(admitted, [true, source === undefined]);
    assert.deepEqual(
      summaries.map(({ client }) => client.address),
      source === undefined ? [] : [source],
    );
  });
}

test("I10: a UDP service has one count for all sources, which can be forged; a limit of 0 writes all", () => {
  const summaries: SuppressedFields[] = [];
  const settings = { perSource: 0, perUdpService: 2, periodMs: 1000 };
  const flood = new Flood(settings, (fields) => summaries.push(fields));
  const udp = (last: number) => ({ ...refusal(`192.0.2.${last}`, "tftp"), transport: "udp" as const });
  assert.deepEqual(
    [1, 2, 3, 4].map((last) => flood.admits(udp(last))),
    [true, true, false, false],
  );
  assert.ok(Array.from({ length: 5 }, () => flood.admits(refusal("192.0.2.1"))).every(Boolean));
  flood.flush();
  assert.deepEqual(
    summaries.map(({ service, client, refusals }) => [service, client.address, refusals]),
    [["tftp", "others", 2]],
  );
});

test("more sources than the table has room for share one count, and every refusal is either written or counted", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 900, max: 3000 }),
      fc.integer({ min: 1, max: 4 }),
      (perSource, count, each) => {
        let counted = 0;
        let summaries = 0;
        const flood = new Flood({ perSource, periodMs: 1000 }, ({ refusals }) => {
          counted += refusals;
          summaries++;
        });
        let written = 0;
        for (let number = 0; number < count * each; number++) {
          if (flood.admits(refusal(`10.${(number % count) >> 8}.${(number % count) & 255}.1`))) written++;
        }
        flood.flush();
        assert.equal(written + counted, count * each);
        assert.ok(written <= 1001 * perSource && summaries <= 1001);
      },
    ),
    { numRuns: 30, seed: 1 },
  );
});

test("the journal counts every refusal, leaves out the suppressed ones with their diagnostics, and sums up when it stops", async () => {
  const records: LogRecord[] = [];
  const journal = new Journal({
    sinks: [
      {
        name: "memory",
        write: (record) => void records.push(record),
        state: () => ({ name: "memory", queuedLines: 0, lostLines: 0 }),
        close: async () => undefined,
      },
    ],
    flood: { perSource: 2, periodMs: 60_000 },
  });
  const about = {
    service: "sshd",
    daemon: "sshd",
    client: { address: "192.0.2.1" },
    server: { address: "192.0.2.9" },
  };
  const diagnostics = [{ file: "f", line: 1, severity: "error", code: "c", message: "m" }] as const;
  for (let count = 0; count < 5; count++) {
    journal.open(about).refused({ verdict: { kind: "refuse", reason: "error", effects: [], diagnostics } });
  }
  assert.equal(journal.counters().get("sshd")?.refused.error, 5);
  journal.stopped();
  assert.deepEqual(
    records.map(({ fields }) => fields.event),
    ["diagnostic", "refuse", "diagnostic", "refuse", "suppressed", "stopped"],
  );
  await journal.close(10);
});
