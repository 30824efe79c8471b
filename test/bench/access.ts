/**
 * Decisions and loads by the size of hosts.deny, beside libwrap on the same file:
 *
 *     npm run build && node --expose-gc --import tsx test/bench/access.ts [sizes]
 *
 * Checks the answers before it times them. Measures the built program, each size in several processes, one after another.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join } from "node:path";
import { Libwrap } from "../libwrap/libwrap.ts";
import { denyTable } from "./access-table.ts";
import type { Measured } from "./access-measure.ts";

const processes = 5;
const sizes = process.argv.slice(2).map(Number);
const folder = mkdtempSync(join(tmpdir(), "bench-"));
const columns: readonly [title: string, figure: (run: Measured) => number, digits: number][] = [
  ["median µs", ({ medianUs }) => medianUs, 2],
  ["p99 µs", ({ p99Us }) => p99Us, 2],
  ["CPU µs", ({ cpuUs }) => cpuUs, 2],
  ["load s", ({ loadSeconds }) => loadSeconds, 2],
  ["memory MB", ({ memoryMB }) => memoryMB, 0],
  ["most MB", ({ mostMemoryMB }) => mostMemoryMB, 0],
  ["pause ms", ({ pauseMs }) => pauseMs, 0],
  ["busy ms", ({ busyMs }) => busyMs, 0],
];
try {
  console.log(`node ${process.version}, Linux ${release()}, ${cpus().length} x ${cpus()[0]?.model ?? "?"}`);
  console.log(`load average before: ${loadavg()[0]?.toFixed(1)}`);
  console.log(`${processes} processes each: the middle one of each figure (lowest-highest)`);
  console.log(row("rules", "file MB", ...columns.map(([title]) => title), "libwrap µs"));
  const medians: number[] = [];
  for (const size of sizes.length > 0 ? sizes : [10, 1000, 100_000, 1_000_000]) {
    const file = join(folder, `hosts.deny.${size}`);
    writeFileSync(file, Array.from(denyTable(size), ({ line }) => line).join(""));
    const runs = Array.from({ length: processes }, () => measure(file, size));
    const cells = columns.map(([, figure, digits]) => summary(runs.map(figure), digits));
    medians.push(middle(runs.map(({ medianUs }) => medianUs)));
    const libwrapUs = await timeLibwrap(file, size);
    console.log(
      row(String(size), (statSync(file).size / 1e6).toFixed(1), ...cells, String(Math.round(libwrapUs))),
    );
  }
  console.log(
    `growth of the median from the first size: ${medians.map((median) => growth(median, medians)).join(", ")}`,
  );
  console.log(
    "half of the questions meet a rule, half none; median and p99 include reading the clock; pause counts waiting for others, busy does not",
  );
} finally {
  rmSync(folder, { recursive: true });
}

function measure(file: string, size: number): Measured {
  const program = join(import.meta.dirname, "access-measure.ts");
  const output = execFileSync(
    process.execPath,
    ["--expose-gc", "--import", "tsx", program, file, String(size)],
    { encoding: "utf8" },
  );
  return JSON.parse(output) as Measured;
}

function middle(figures: readonly number[]): number {
  return figures.toSorted((one, other) => one - other)[figures.length >> 1] ?? 0;
}

function summary(figures: readonly number[], digits: number): string {
  const [lowest, highest] = [Math.min(...figures), Math.max(...figures)].map((each) => each.toFixed(digits));
  return `${middle(figures).toFixed(digits)} (${lowest}-${highest})`;
}

function growth(median: number, [first = median]: readonly number[]): string {
  return `x${(median / first).toFixed(1)}`;
}

function row(...cells: readonly string[]): string {
  return cells.map((cell) => cell.padStart(17)).join("");
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
