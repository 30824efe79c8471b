/** How much the records of one connection cost: accept and end, in each form, with standard output going to /dev/null. */
import assert from "node:assert/strict";
import { cpus } from "node:os";

import type { Outlet } from "../../src/platform/outlet.ts";
import { journalForm, jsonForm, syslogForm, textForm } from "../../src/record/forms.ts";
import { Journal } from "../../src/record/journal.ts";
import type { Form } from "../../src/record/queued-sink.ts";
import { QueuedSink } from "../../src/record/queued-sink.ts";

const CONNECTIONS = 200_000;
/** As many connections as come in one turn of a busy loop. */
const PER_TURN = 100;

/** Takes everything at once, and joins the lines as standard output does. */
class Taker implements Outlet {
  lines = 0;
  characters = 0;

  async send(lines: readonly string[]): Promise<number> {
    this.characters += lines.join("").length;
    this.lines += lines.length;
    return lines.length;
  }

  close(): void {
    // Nothing is open.
  }
}

const about = {
  service: "sshd",
  daemon: "sshd",
  client: { address: "192.0.2.1", port: 40000 },
  server: { address: "192.0.2.9", port: 22 },
};
const request = { daemon: "sshd", client: { ...about.client, name: "host.example" }, server: about.server };
const verdict = {
  kind: "allow",
  reason: "rule",
  rule: { file: "/etc/hosts.allow", line: 12, index: 3 },
  effects: [],
  diagnostics: [],
} as const;

async function measure(form: Form | undefined): Promise<{ micros: number; lines: number }> {
  const outlet = new Taker();
  const sinks = form === undefined ? [] : [new QueuedSink({ name: "bench", form, outlet })];
  const journal = new Journal({ sinks });
  const before = process.cpuUsage();
  for (let done = 0; done < CONNECTIONS; done += PER_TURN) {
    for (let count = 0; count < PER_TURN; count++) {
      const entry = journal.open(about);
      entry.accepted({ request, verdict, backend: "127.0.0.1:2222", generation: 1 });
      entry.ended({ upBytes: count, downBytes: done, cause: "client_closed" });
      entry.close();
    }
    await new Promise(setImmediate);
  }
  await journal.close(10_000);
  const used = process.cpuUsage(before);
  return { micros: (used.user + used.system) / CONNECTIONS, lines: outlet.lines };
}

const forms: [name: string, make: () => Form | undefined][] = [
  ["no sink", () => undefined],
  ["text", () => textForm(77)],
  ["journal", () => journalForm(77)],
  ["json", () => jsonForm()],
  ["rfc3164", () => syslogForm({ format: "rfc3164", facility: "daemon", pid: 77, maxBytes: 8192 })],
  ["rfc5424", () => syslogForm({ format: "rfc5424", facility: "daemon", pid: 77, maxBytes: 8192 })],
];

/** A flood of refusals from one source: each in full, or the first ten and a number. */
async function measureFlood(isSummedUp: boolean): Promise<{ micros: number; lines: number }> {
  const outlet = new Taker();
  const journal = new Journal({
    sinks: [new QueuedSink({ name: "bench", form: textForm(77), outlet })],
    ...(isSummedUp && { flood: { perSource: 10, periodMs: 60_000 } }),
  });
  const before = process.cpuUsage();
  for (let done = 0; done < CONNECTIONS; done += PER_TURN) {
    for (let count = 0; count < PER_TURN; count++) {
      const entry = journal.open(about);
      entry.refused({ request, verdict: { ...verdict, kind: "refuse" }, generation: 1 });
      entry.close();
    }
    await new Promise(setImmediate);
  }
  await journal.close(10_000);
  const used = process.cpuUsage(before);
  return { micros: (used.user + used.system) / CONNECTIONS, lines: outlet.lines };
}

async function main(): Promise<void> {
  console.log(
    `node ${process.version}, ${cpus()[0]?.model ?? "unknown processor"}; processor time per connection, both records`,
  );
  for (const [name, make] of forms) {
    await measure(make());
    const { micros, lines } = await measure(make());
    assert.equal(lines, name === "no sink" ? 0 : CONNECTIONS * 2);
    console.log(`${name.padEnd(8)} ${micros.toFixed(2)} µs`);
  }
  for (const isSummedUp of [false, true]) {
    await measureFlood(isSummedUp);
    const { micros, lines } = await measureFlood(isSummedUp);
    assert.equal(lines, isSummedUp ? 11 : CONNECTIONS);
    console.log(
      `refusals as text, ${isSummedUp ? "summed up per source" : "each in full"}: ${micros.toFixed(2)} µs each`,
    );
  }
}

void main();
