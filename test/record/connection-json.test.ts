/** The JSON of connections that is not written by pino is what pino would write. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { pino } from "pino";

import { connectionJson } from "../../src/record/connection-json.ts";
import { escapeRaw } from "../../src/record/escape.ts";
import type { AcceptFields, EndFields, LogRecord, RefuseFields } from "../../src/record/records.ts";
import { END_CAUSES, LEVELS, REFUSE_REASONS } from "../../src/record/records.ts";
import { fuzzSeed } from "../support/fuzz-seed.ts";

function byPino({ timeMs, level, fields }: LogRecord): string {
  let line = "";
  const logger = pino(
    {
      level: "trace",
      base: null,
      timestamp: () => `,"time":"${new Date(timeMs).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (written: string) => (line = written) },
  );
  logger[level](fields);
  return line;
}

const text = fc.oneof(
  fc.constantFrom(
    "sshd",
    "127.0.0.1",
    "fe80::1%eth0",
    "",
    'x "y" \\ z',
    "line\nbreak",
    "\u2028",

    "ä\u007f",
  ),
  fc.string({ unit: "binary", maxLength: 60 }),
);
const count = fc.oneof(fc.nat(), fc.double());
const maybe = <Value>(of: fc.Arbitrary<Value>) => fc.option(of, { nil: undefined });
const nameStatus = fc.constantFrom("ok", "nxdomain", "paranoid");
const sideKeys = { address: text, port: fc.nat(65535), name: text, nameStatus };
const server = fc
  .record(sideKeys, { requiredKeys: ["address"] })
  .map(({ address, ...rest }) => ({ address, ...rest }));
const client = fc
  .record({ ...sideKeys, user: text }, { requiredKeys: ["address"] })
  .map(({ address, ...rest }) => ({ address, ...rest }));
const connection = { service: text, daemon: text, id: text, client, server };
const rule = maybe(fc.record({ file: text, line: fc.nat() }));
const generation = maybe(fc.nat());
const fields = fc.oneof(
  fc.record({
    event: fc.constant("accept" as const),
    ...connection,
    rule,
    backend: text,
    decisionMs: count,
    generation,
  }),
  fc.record({
    event: fc.constant("refuse" as const),
    ...connection,
    rule,
    reason: fc.constantFrom(...REFUSE_REASONS),
    detail: maybe(text),
    decisionMs: count,
    generation,
  }),
  fc.record({
    event: fc.constant("end" as const),
    ...connection,
    upBytes: fc.option(fc.nat()),
    downBytes: fc.option(count),
    durationMs: count,
    cause: fc.constantFrom(...END_CAUSES),
    detail: maybe(text),
  }),
);
const record = fc.record({
  timeMs: fc.nat(2 ** 41),
  level: fc.constantFrom(...LEVELS),
  tag: text,
  fields,
}) as fc.Arbitrary<LogRecord>;

test("accept, refuse and end are written byte for byte as pino writes them, and nothing raw is left", () => {
  fc.assert(
    fc.property(record, (one) => {
      assert.equal(connectionJson(one), escapeRaw(byPino(one)));
    }),
    { seed: fuzzSeed, numRuns: 2000 },
  );
});

test("what is remembered of a service is not told of another daemon, server or rule of it", () => {
  const few = {
    service: fc.constant("sshd"),
    daemon: fc.constantFrom("sshd", "in.sshd"),
    id: fc.constant("1"),
    client: fc.constant({ address: "192.0.2.1" }),
    server: fc
      .record(
        {
          address: fc.constantFrom("192.0.2.9", "192.0.2.8"),
          port: fc.constantFrom(22, 23),
          name: fc.constantFrom("a", "b"),
          nameStatus: fc.constantFrom("ok", "nxdomain"),
        },
        { requiredKeys: ["address"] },
      )
      .map(({ address, ...rest }) => ({ address, ...rest })),
    event: fc.constant("refuse" as const),
    rule: maybe(fc.record({ file: fc.constantFrom("/a", "/b"), line: fc.constantFrom(1, 2) })),
    reason: fc.constant("rule" as const),
    decisionMs: fc.constant(1),
  };
  const one = fc.record(few).map((found) => {
    const { event, service, daemon, id, client: who, server: where, ...rest } = found;
    return {
      timeMs: 0,
      level: "warn",
      tag: "t",
      fields: { event, service, daemon, id, client: who, server: where, ...rest },
    };
  }) as fc.Arbitrary<LogRecord>;
  fc.assert(
    fc.property(fc.array(one, { minLength: 2 }), (records) => {
      for (const each of records) assert.equal(connectionJson(each), escapeRaw(byPino(each)));
    }),
    { seed: fuzzSeed, numRuns: 200 },
  );
});

type FieldsKnown =
  | "event"
  | "service"
  | "daemon"
  | "id"
  | "client"
  | "server"
  | "transport"
  | "proxy"
  | "rule"
  | "backend"
  | "reason"
  | "detail"
  | "decisionMs"
  | "generation"
  | "upBytes"
  | "downBytes"
  | "durationMs"
  | "cause";
type SideKnown = "address" | "port" | "name" | "nameStatus" | "user" | "forwardNames";

/** The compiler's: a new field must be written in connection-json.ts as well, or left to pino there. */
test("no field of these records is unknown here", () => {
  const fieldsMissed: Exclude<keyof AcceptFields | keyof RefuseFields | keyof EndFields, FieldsKnown>[] = [];
  const sideMissed: Exclude<keyof AcceptFields["client"], SideKnown>[] = [];
  const none: never[] = [...fieldsMissed, ...sideMissed];
  assert.deepEqual(none, []);
});

const about = {
  service: "sshd",
  daemon: "sshd",
  id: "1",
  client: { address: "192.0.2.1" },
  server: { address: "192.0.2.9" },
};
const accept = { event: "accept", ...about, backend: "b", decisionMs: 1 } as const;
const left: readonly (readonly [what: string, record: Partial<LogRecord>])[] = [
  ["a rule's severity", { fields: accept, severity: { level: "info" } }],
  ["a client of datagrams", { fields: { ...accept, transport: "udp" } }],
  ["a PROXY header", { fields: { ...accept, proxy: { address: "192.0.2.3" } } }],
  ["names in the tables", { fields: { ...accept, client: { address: "192.0.2.1", forwardNames: ["a"] } } }],
  ["a twist", { fields: { event: "twist", ...about, command: "c", decisionMs: 1 } }],
  ["an event of the daemon", { fields: { event: "ready" } }],
];
for (const [what, more] of left)
  test(`${what} is left to pino`, () => {
    assert.equal(connectionJson({ timeMs: 0, level: "info", tag: "sshd", ...more } as LogRecord), undefined);
  });
