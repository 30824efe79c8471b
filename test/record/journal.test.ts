import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { Verdict } from "../../src/access/types.ts";
import type { Entry } from "../../src/record/entry.ts";
import { Journal } from "../../src/record/journal.ts";
import type { Fields, LogRecord } from "../../src/record/records.ts";
import type { Sink } from "../../src/record/sink.ts";

/** A sink that keeps what it is given. */
function memorySink(name = "memory"): Sink & { records: LogRecord[]; events: () => string[] } {
  const records: LogRecord[] = [];
  return {
    name,
    records,
    events: () => records.map((record) => record.fields.event),
    write: (record) => void records.push(record),
    state: () => ({ name, queuedLines: 0, lostLines: 0 }),
    close: async () => undefined,
  };
}

const about = {
  service: "sshd",
  daemon: "sshd",
  client: { address: "192.0.2.1", port: 4000 },
  server: { address: "192.0.2.9", port: 22 },
};
const request = {
  daemon: "sshd",
  client: { ...about.client, name: "host.example" },
  server: about.server,
  user: "bob",
};
const rule = { file: "/etc/hosts.allow", line: 3, index: 0 };
const allow: Verdict = { kind: "allow", reason: "rule", rule, effects: [], diagnostics: [] };
const refuse: Verdict = { ...allow, kind: "refuse" };
const twist: Verdict = { ...allow, kind: "twist", command: { line: "/bin/echo hello", environment: {} } };

/** Without what is absent: as JSON prints it. */
function asPrinted(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

function fieldsOf<Event extends Fields["event"]>(
  records: readonly LogRecord[],
  event: Event,
): Extract<Fields, { event: Event }> {
  const found = records.find((record) => record.fields.event === event);
  assert.ok(found, `a record "${event}"`);
  return found.fields as Extract<Fields, { event: Event }>;
}

test("K9: an accepted client makes one record when decided and one when it ends, with the same id", () => {
  let ms = 1000;
  const sink = memorySink();
  const journal = new Journal({ sinks: [sink], now: () => 1_700_000_000_000, monotonic: () => ms });
  const entry = journal.open(about);
  ms = 1002.5;
  entry.accepted({ request, verdict: allow, backend: "127.0.0.1:2222", generation: 7 });
  ms = 5000;
  entry.ended({ upBytes: 10, downBytes: 20, cause: "backend_closed" });
  entry.close();
  const base = {
    service: "sshd",
    daemon: "sshd",
    id: entry.id,
    client: { ...request.client, user: "bob" },
    server: about.server,
  };
  assert.deepEqual(asPrinted(sink.records), [
    {
      level: "info",
      tag: "sshd",
      timeMs: 1_700_000_000_000,
      fields: {
        event: "accept",
        ...base,
        rule: { file: "/etc/hosts.allow", line: 3 },
        backend: "127.0.0.1:2222",
        decisionMs: 2.5,
        generation: 7,
      },
    },
    {
      level: "info",
      tag: "sshd",
      timeMs: 1_700_000_000_000,
      fields: {
        event: "end",
        ...base,
        upBytes: 10,
        downBytes: 20,
        durationMs: 4000,
        cause: "backend_closed",
      },
    },
  ]);
});

test("a refused client makes one record, which is decision and end in one", () => {
  const sink = memorySink();
  const journal = new Journal({ sinks: [sink] });
  const entry = journal.open(about);
  entry.refused({ request, verdict: refuse });
  entry.ended({ upBytes: 0, downBytes: 0, cause: "client_closed" });
  entry.close();
  assert.deepEqual(sink.events(), ["refuse"]);
  assert.equal(sink.records[0]?.level, "warn");
  assert.equal(fieldsOf(sink.records, "refuse").reason, "rule");
});

test("a twisted client makes one record with the command and one when it ends", () => {
  const sink = memorySink();
  const entry = new Journal({ sinks: [sink] }).open(about);
  entry.twisted({ request, verdict: twist, command: "/bin/echo hello" });
  entry.ended({ upBytes: null, downBytes: null, cause: "handed_over" });
  assert.deepEqual(sink.events(), ["twist", "end"]);
  assert.equal(fieldsOf(sink.records, "twist").command, "/bin/echo hello");
});

test("a client that a PROXY header announced is told with the peer that announced it", () => {
  const sink = memorySink();
  const proxy = { address: "10.0.0.1", port: 5000 };
  const entry = new Journal({ sinks: [sink] }).open(about);
  entry.accepted({ request: { ...request, proxy }, verdict: allow, backend: "b" });
  entry.ended({ upBytes: 0, downBytes: 0, cause: "client_closed" });
  assert.deepEqual(
    [fieldsOf(sink.records, "accept").proxy, fieldsOf(sink.records, "end").proxy],
    [proxy, proxy],
  );
});

const reasons: [what: Parameters<Entry["refused"]>[0], reason: string, because: string][] = [
  [{ request, verdict: refuse }, "rule", "its rule says so"],
  [{ request, verdict: { ...refuse, reason: "no_match" } }, "rule", "noMatch: refuse is the policy too"],
  [{ request, verdict: { ...refuse, reason: "error" } }, "error", "the rule or its table is broken"],
  [{ reason: "limit" }, "limit", "asked for without a verdict"],
  [{ reason: "timeout", request }, "timeout", "no verdict in time"],
  [{}, "error", "nothing said"],
];
for (const [what, reason, because] of reasons) {
  test(`a refusal's reason is "${reason}": ${because}`, () => {
    const sink = memorySink();
    const journal = new Journal({ sinks: [sink] });
    journal.open(about).refused(what);
    assert.equal(fieldsOf(sink.records, "refuse").reason, reason);
    assert.equal(journal.counters().get("sshd")?.refused[reason as "rule"], 1);
  });
}

test("a rule's severity goes with the decision and with the end", () => {
  const sink = memorySink();
  const entry = new Journal({ sinks: [sink] }).open(about);
  entry.accepted({
    request,
    verdict: { ...allow, severity: { facility: "auth", level: "alert" } },
    backend: "b",
  });
  entry.ended({ upBytes: 0, downBytes: 0, cause: "client_closed" });
  assert.deepEqual(
    sink.records.map((record) => record.severity),
    [
      { facility: "auth", level: "alert" },
      { facility: "auth", level: "alert" },
    ],
  );
});

test("what was wrong on the way to a verdict is told first, under the daemon's tag and with the id", () => {
  const sink = memorySink();
  const entry = new Journal({ sinks: [sink] }).open(about);
  const found = {
    file: "/etc/hosts.deny",
    line: 9,
    severity: "error",
    code: "unknown-option",
    message: '"x"',
  } as const;
  entry.refused({ request, verdict: { ...refuse, reason: "error", diagnostics: [found] } });
  assert.deepEqual(sink.events(), ["diagnostic", "refuse"]);
  assert.deepEqual(sink.records[0]?.fields, {
    event: "diagnostic",
    service: "sshd",
    id: entry.id,
    code: "unknown-option",
    message: '"x"',
    file: "/etc/hosts.deny",
    line: 9,
  });
  assert.equal(sink.records[0]?.tag, "sshd");
});

test("an error before the verdict refuses and says why; one after it ends with internal and the bytes moved", () => {
  const sink = memorySink();
  const journal = new Journal({ sinks: [sink] });
  journal.open(about).failed(new Error("boom"));
  assert.equal(fieldsOf(sink.records, "refuse").detail, "boom");
  const entry = journal.open(about);
  entry.accepted({ request, verdict: allow, backend: "b", traffic: () => ({ upBytes: 5, downBytes: 6 }) });
  entry.failed("thrown text");
  const end = fieldsOf(sink.records, "end");
  assert.deepEqual([end.cause, end.detail, end.upBytes, end.downBytes], ["internal", "thrown text", 5, 6]);
});

test("an entry that is closed without a word is a refusal by error: no connection goes without a trace", () => {
  const sink = memorySink();
  new Journal({ sinks: [sink] }).open(about).close();
  assert.equal(fieldsOf(sink.records, "refuse").reason, "error");
});

test("an end before any decision is a refusal: aborted where the client has gone", () => {
  const sink = memorySink();
  new Journal({ sinks: [sink] }).open(about).ended({ upBytes: 0, downBytes: 0, cause: "client_gone" });
  assert.deepEqual(sink.events(), ["refuse"]);
  assert.equal(fieldsOf(sink.records, "refuse").reason, "aborted");
});

test("in whatever order an entry is called, it makes one decision record and at most one end record, and leaves", () => {
  const calls: Record<string, (entry: Entry) => void> = {
    accepted: (entry) => entry.accepted({ request, verdict: allow, backend: "b" }),
    refused: (entry) => entry.refused({ request, verdict: refuse }),
    twisted: (entry) => entry.twisted({ request, verdict: twist, command: "c" }),
    ended: (entry) => entry.ended({ upBytes: 1, downBytes: 2, cause: "client_closed" }),
    failed: (entry) => entry.failed(new Error("x")),
    close: (entry) => entry.close(),
  };
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...Object.keys(calls)), { maxLength: 8 }), (order) => {
      const sink = memorySink();
      const journal = new Journal({ sinks: [sink] });
      const entry = journal.open(about);
      for (const name of order) calls[name]?.(entry);
      entry.close();
      const events = sink.events();
      const decisions = events.filter((event) => event !== "end");
      const ends = events.filter((event) => event === "end");
      assert.equal(decisions.length, 1);
      assert.equal(ends.length, decisions[0] === "refuse" ? 0 : 1);
      assert.equal(journal.openCount, 0);
      assert.equal(journal.counters().get("sshd")?.open, 0);
    }),
    { numRuns: 1000, seed: 1 },
  );
});

test("records below the level are not written, but are counted; a rule's severity does not hide its connection", () => {
  const sink = memorySink();
  const journal = new Journal({ sinks: [sink], level: "warn" });
  const entry = journal.open(about);
  entry.accepted({ request, verdict: allow, backend: "b" });
  entry.ended({ upBytes: 3, downBytes: 4, cause: "client_closed" });
  journal.open(about).refused({ request, verdict: { ...refuse, severity: { level: "debug" } } });
  assert.deepEqual(sink.events(), ["refuse"]);
  const counters = journal.counters().get("sshd");
  assert.deepEqual(
    [counters?.accepted, counters?.ended.client_closed, counters?.upBytes, counters?.downBytes],
    [1, 1, 3, 4],
  );
});

test("sessions lists what is open now, oldest first, with rule, backend and bytes moved", () => {
  let ms = 0;
  const journal = new Journal({ sinks: [], now: () => 1_700_000_000_000, monotonic: () => ms });
  const first = journal.open(about);
  const second = journal.open({ ...about, service: "mysqld", daemon: "mysqld" });
  first.accepted({ request, verdict: allow, backend: "b", traffic: () => ({ upBytes: 1, downBytes: 2 }) });
  ms = 2000;
  assert.deepEqual(asPrinted(journal.sessions()), [
    {
      service: "sshd",
      daemon: "sshd",
      id: first.id,
      client: { ...request.client, user: "bob" },
      server: about.server,
      state: "accepted",
      acceptedAt: "2023-11-14T22:13:20.000Z",
      ageMs: 2000,
      rule: { file: "/etc/hosts.allow", line: 3 },
      backend: "b",
      traffic: { upBytes: 1, downBytes: 2 },
    },
    {
      service: "mysqld",
      daemon: "mysqld",
      id: second.id,
      client: about.client,
      server: about.server,
      state: "deciding",
      acceptedAt: "2023-11-14T22:13:20.000Z",
      ageMs: 2000,
    },
  ]);
  first.close();
  second.close();
  assert.deepEqual(journal.sessions(), []);
});

test("tables makes one record with the diagnostics in it, and one line of text for each", () => {
  const sink = memorySink();
  const journal = new Journal({ sinks: [sink] });
  const warning = {
    file: "/etc/hosts.allow",
    line: 4,
    severity: "warning",
    code: "host-bits-set",
    message: "m",
  } as const;
  journal.tables({ generation: 2, allowRules: 5, denyRules: 6, diagnostics: [warning] });
  assert.deepEqual(sink.records[0]?.fields, {
    event: "tables",
    generation: 2,
    allow: { rules: 5 },
    deny: { rules: 6 },
    diagnostics: [warning],
  });
  assert.equal(sink.records[0]?.level, "info");
  assert.equal(sink.records[1]?.sentencesOnly, true);
  journal.tables({
    generation: 2,
    allowRules: 5,
    denyRules: 6,
    diagnostics: [{ ...warning, severity: "error" }],
  });
  assert.equal(sink.records[2]?.level, "error");
});

test("a million diagnostics are counted, and a hundred are written", () => {
  const sink = memorySink();
  const warning = { file: "f", line: 4, severity: "warning", code: "host-bits-set", message: "m" } as const;
  new Journal({ sinks: [sink] }).tables({
    generation: 1,
    allowRules: 0,
    denyRules: 0,
    diagnostics: Array.from({ length: 1_000_000 }, () => warning),
  });
  const fields = fieldsOf(sink.records, "tables");
  assert.equal(fields.diagnostics.length, 100);
  assert.equal(fields.diagnosticsTotal, 1_000_000);
  assert.equal(sink.records.length, 101);
});

test("K10: a sink in trouble is told of on the others, and when it is back", () => {
  const [well, ill] = [memorySink("well"), memorySink("ill")];
  const journal = new Journal({ sinks: [well, ill] });
  ill.onTrouble?.("disk full");
  ill.onReturn?.(12);
  assert.deepEqual(
    well.records.map(({ level, fields }) => [level, "message" in fields && fields.message]),
    [
      ["error", "ill takes no records: disk full"],
      ["info", "ill takes records again, lost 12 lines"],
    ],
  );
  assert.deepEqual(ill.records, []);
  assert.equal(journal.sinks().length, 2);
});

test("a health check that is let in makes debug records and one count of its own; one that is refused is told", () => {
  const sink = memorySink();
  const journal = new Journal({ sinks: [sink] });
  const good = journal.open(about);
  good.markAsCheck();
  good.accepted({ request, verdict: allow, backend: "b" });
  good.ended({ upBytes: 0, downBytes: 2, cause: "client_closed" });
  assert.deepEqual(sink.events(), []);
  const counters = journal.counters().get("sshd");
  assert.deepEqual(
    [
      counters?.open,
      counters?.checks,
      counters?.accepted,
      counters?.ended.client_closed,
      counters?.upBytes,
      counters?.decisionMs,
    ],
    [0, 1, 0, 0, 0, 0],
  );
  const bad = journal.open(about);
  bad.markAsCheck();
  bad.refused({ request, verdict: refuse });
  assert.deepEqual(sink.events(), ["refuse"]);
  const talkative = journal.open(about);
  talkative.markAsCheck();
  talkative.accepted({ request, verdict: allow, backend: "b" });
  talkative.ended({ upBytes: 1, downBytes: 2, cause: "client_closed" });
  assert.deepEqual(sink.events(), ["refuse", "end"], "whoever says something is no check");
  const patient = memorySink();
  const check = new Journal({ sinks: [patient], level: "debug" }).open(about);
  check.markAsCheck();
  check.accepted({ request, verdict: allow, backend: "b" });
  check.close();
  assert.deepEqual(
    patient.records.map(({ level }) => level),
    ["debug", "debug"],
  );
});

test("K7: audited waits for the audit sinks only, and says false where one cannot deliver or takes too long", async () => {
  const never = new AbortController();
  const answers: boolean[] = [true];
  const audit: Sink = { ...memorySink(), isAudit: true, delivered: async () => answers[0] ?? false };
  const careless: Sink = { ...memorySink(), delivered: () => assert.fail("nobody waits for this one") };
  assert.equal(await new Journal({ sinks: [careless] }).audited(never.signal), true);
  const journal = new Journal({ sinks: [careless, audit] });
  assert.equal(await journal.audited(never.signal), true);
  answers[0] = false;
  assert.equal(await journal.audited(never.signal), false);
  const stuck: Sink = { ...memorySink(), isAudit: true, delivered: () => new Promise(() => undefined) };
  const late = new AbortController();
  setTimeout(() => late.abort(), 10); // the timer of AbortSignal.timeout would keep nobody alive
  assert.equal(await new Journal({ sinks: [stuck] }).audited(late.signal), false);
  assert.equal(await new Journal({ sinks: [stuck] }).audited(AbortSignal.abort()), false);
});

test("trouble is written with the fields of a diagnostic and no other, whatever the caller's value carries", () => {
  const sink = memorySink();
  const trouble = { code: "c", message: "m", hint: "h", kind: "warn", pid: 7 };
  new Journal({ sinks: [sink] }).warn(trouble);
  assert.deepEqual(asPrinted(sink.records[0]?.fields), {
    event: "diagnostic",
    code: "c",
    message: "m",
    hint: "h",
  });
});
