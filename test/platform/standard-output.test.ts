import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";

import { describeDescriptor } from "../../src/platform/standard-output.ts";
import type { WriterReport } from "../support/record-writer.ts";
import { temporaryFolder } from "../support/unix-receiver.ts";

const WRITER = join(import.meta.dirname, "../support/record-writer.ts");

function startWriter(stdout: number | "pipe", ...args: string[]): ChildProcess {
  return fork(WRITER, args, { execArgv: ["--import", "tsx"], stdio: ["ignore", stdout, "inherit", "ipc"] });
}

/** Waits for the report and for the end, which must come within ten seconds of each other's start. */
async function reportOf(writer: ChildProcess): Promise<WriterReport & { exit: unknown }> {
  const limit = setTimeout(() => writer.kill("SIGKILL"), 20_000);
  const exited = once(writer, "exit");
  const [report] = (await Promise.race([once(writer, "message"), exited.then(() => [undefined])])) as [
    WriterReport | undefined,
  ];
  assert.ok(report, "the writer ended without a report");
  const [code, signal] = (await exited) as [number | null, string | null];
  clearTimeout(limit);
  return { ...report, exit: code ?? signal };
}

test("K3: a pipe that nobody reads holds up neither the event loop nor the end of the process", async (context) => {
  const path = join(temporaryFolder(context), "pipe");
  execFileSync("mkfifo", [path]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  context.after(() => closeSync(fd));
  const report = await reportOf(startWriter(fd, "text", "100000"));
  assert.equal(report.exit, 0);
  assert.equal(report.queuedLines, 0);
  assert.ok(report.lostLines > 80_000, `${report.lostLines} lost`);
  assert.ok(report.closeMs < 2000, `closed in ${report.closeMs} ms`);
  assert.ok(report.longestTurnMs < 1000, `the loop stood still for ${report.longestTurnMs} ms`);
});

test("K3: a socket that nobody reads holds up neither the event loop nor the end of the process", async () => {
  const report = await reportOf(startWriter("pipe", "json", "100000"));
  assert.equal(report.exit, 0);
  assert.ok(report.lostLines > 80_000, `${report.lostLines} lost`);
  assert.ok(report.closeMs < 2000, `closed in ${report.closeMs} ms`);
});

test("K4: a full disk is told once on the other sinks, and the process goes on", async () => {
  const fd = openSync("/dev/full", "w");
  const report = await reportOf(startWriter(fd, "text", "1000", "500"));
  closeSync(fd);
  assert.equal(report.exit, 0);
  assert.deepEqual(report.told, [
    "log-sink-down: standard output takes no records: ENOSPC: no space left on device, write",
  ]);
  assert.equal(report.lostLines, 1001);
});

test("a file gets every line, whole and in order", async (context) => {
  const path = join(temporaryFolder(context), "log");
  const fd = openSync(path, "a");
  const report = await reportOf(startWriter(fd, "text", "5000"));
  closeSync(fd);
  assert.deepEqual([report.exit, report.lostLines, report.told], [0, 0, []]);
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  assert.deepEqual(
    lines.map((line) => / test-line: (number \d+|last)$/.exec(line)?.[1]),
    [...Array.from({ length: 5000 }, (_, number) => `number ${number}`), "last"],
  );
});

test("two processes that write to one pipe do not cut through each other's lines", async (context) => {
  const path = join(temporaryFolder(context), "pipe");
  execFileSync("mkfifo", [path]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const pipe = new Socket({ fd, readable: true, writable: false });
  let all = "";
  let newlines = 0;
  pipe.on("data", (bytes) => {
    const text = bytes.toString("latin1");
    newlines += text.split("\n").length - 1;
    all += text;
  });
  const reports = await Promise.all([1, 2].map(() => reportOf(startWriter(fd, "text", "5000", "500"))));
  assert.deepEqual(
    reports.map(({ lostLines }) => lostLines),
    [0, 0],
  );
  // What the writers had written before they ended is in the pipe.
  while (newlines < 10_002) await once(pipe, "data");
  pipe.destroy();
  const lines = all.split("\n").slice(0, -1);
  for (const line of lines) assert.match(line, /^[-0-9T:.]+Z tcpwrapd\[\d+\]: test-line: (number \d+|last)$/);
});

test("a reader that goes away is told once on the other sinks, and its descriptor number goes to nobody else", async () => {
  const writer = startWriter("pipe", "text", "1000", "500");
  writer.stdout?.destroy();
  const report = await reportOf(writer);
  assert.equal(report.exit, 0);
  assert.equal(report.told.length, 1);
  assert.match(
    report.told[0] ?? "",
    /^log-sink-down: standard output takes no records: .*(EPIPE|ECONNRESET)/,
  );
  assert.ok(report.nextDescriptor > 2, `the next file got number ${report.nextDescriptor}`);
});

test("a descriptor is the journal's only if JOURNAL_STREAM names its own device and inode", (context) => {
  const fd = openSync(join(temporaryFolder(context), "file"), "w");
  context.after(() => closeSync(fd));
  assert.equal(describeDescriptor(fd, {}), "other");
  assert.equal(describeDescriptor(fd, { JOURNAL_STREAM: "8:12345" }), "other");
  const [dev, ino] = execFileSync("stat", ["-L", "-c", "%d %i", `/proc/${process.pid}/fd/${fd}`], {
    encoding: "utf8",
  })
    .trim()
    .split(" ");
  assert.equal(describeDescriptor(fd, { JOURNAL_STREAM: `${dev}:${ino}` }), "journal");
  assert.equal(describeDescriptor(9999, {}), "other");
});
