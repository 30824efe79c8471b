/**
 * Decisions and loads by the size of hosts.deny, beside libwrap on the same file:
 *
 *     npm run build && node --expose-gc --import tsx test/bench/access.ts [sizes]
 *
 * Checks the answers before it times them. Measures the built program, each size in a process of its own.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join } from "node:path";
import { Libwrap } from "../libwrap/libwrap.ts";
import { denyTable } from "./access-table.ts";
import type { Measured } from "./access-measure.ts";

const sizes = process.argv.slice(2).map(Number);
const folder = mkdtempSync(join(tmpdir(), "bench-"));
try {
  console.log(`node ${process.version}, Linux ${release()}, ${cpus().length} x ${cpus()[0]?.model ?? "?"}`);
  console.log(`load average before: ${loadavg()[0]?.toFixed(1)}`);
  console.log(
    row(
      "rules",
      "MB",
      "median µs",
      "p99 µs",
      "CPU µs",
      "load s",
      "memory MB",
      "most MB",
      "pause ms",
      "busy ms",
      "libwrap µs",
    ),
  );
  for (const size of sizes.length > 0 ? sizes : [10, 1000, 100_000, 1_000_000]) {
    const file = join(folder, `hosts.deny.${size}`);
    writeFileSync(file, Array.from(denyTable(size), ({ line }) => line).join(""));
    const output = execFileSync(
      process.execPath,
      ["--expose-gc", "--import", "tsx", join(import.meta.dirname, "access-measure.ts"), file, String(size)],
      { encoding: "utf8" },
    );
    const measured = JSON.parse(output) as Measured;
    const libwrapUs = await timeLibwrap(file, size);
    const { medianUs, p99Us, cpuUs, loadSeconds, memoryMB, mostMemoryMB, pauseMs, busyMs } = measured;
    const figures = [medianUs, p99Us, cpuUs, loadSeconds].map((figure) => figure.toFixed(2));
    const others = [memoryMB, mostMemoryMB, pauseMs, busyMs, libwrapUs].map((figure) => figure.toFixed(0));
    console.log(row(String(size), (statSync(file).size / 1e6).toFixed(1), ...figures, ...others));
  }
  console.log(
    "half of the questions meet a rule, half none; median and p99 include reading the clock; pause counts waiting for others, busy does not",
  );
} finally {
  rmSync(folder, { recursive: true });
}

function row(...cells: readonly string[]): string {
  return cells.map((cell) => cell.padStart(11)).join("");
}

/** Microseconds that libwrap takes on the same file for a client that meets no rule; and that it agrees with the table. */
async function timeLibwrap(file: string, size: number): Promise<number> {
  const libwrap = new Libwrap(size > 10_000 ? 2 : 200);
  const checking = new Libwrap();
  try {
    for (const each of [libwrap, checking]) {
      each.write({ [each.allow]: "" });
      copyFileSync(file, each.deny);
    }
    const base = {
      daemon: "sshd",
      user: "unknown",
      serverName: "unknown",
      serverAddr: "10.0.0.1",
      serverPort: 22,
    };
    const rules = Array.from(denyTable(size));
    const some = [0, 0.3, 0.6, 0.99].map((part) => rules[Math.floor(part * size)]!);
    const answers = await checking.ask(
      some.map(({ client }) => ({ ...base, clientAddr: client.address, clientName: client.name })),
    );
    assert.deepEqual(
      answers.map(({ matched }) => matched.split(" ").at(-1)),
      some.map(({ first }) => String(first)),
    );
    const [timed] = await libwrap.ask([
      { ...base, clientAddr: "240.1.2.3", clientName: "client.example.org" },
    ]);
    return Number(timed?.matched) / 1000;
  } finally {
    await libwrap.close();
    await checking.close();
  }
}
