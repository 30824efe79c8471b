import assert from "node:assert/strict";
import { test } from "node:test";

import { report } from "./report.ts";

const turns = (figure: string, ...values: readonly number[]): readonly Record<string, number>[] =>
  values.map((value) => ({ [figure]: value }));

const rows = (text: string, start: string): readonly string[] =>
  text
    .split("\n")
    .filter((line) => line.startsWith(`| ${start}`))
    .map((line) => line.replaceAll(/ +/g, " "));

test("report compares medians with what was wanted of each measure", () => {
  const text = report({
    connections: {
      haproxy: turns("per second", 1000, 4000, 2000),
      "tcpserver+tcpd": turns("per second", 100, 150, 100),
      tcpwrapd: turns("per second", 1600, 5, 9000),
    },
  });
  assert.deepEqual(rows(text, "connections allowed"), [
    "| connections allowed, per second | 1600 | haproxy 2000 | 0.80 | >= 0.85 | **missed** |",
    "| connections allowed, per second | 1600 | tcpserver+tcpd 100 | 16.00 | >= 10 | reached |",
  ]);
});

test("report compares turns with many rules with the turns before them", () => {
  const text = report({
    connections: {
      tcpwrapd: turns("per second", 1000, 2000, 3000),
      "tcpwrapd-100k": turns("per second", 960, 2000, 2940),
    },
    rtt1: {
      tcpwrapd: turns("p50 µs", 100, 100, 100),
      "tcpwrapd-100k": turns("p50 µs", 104, 90, 105),
    },
  });
  assert.deepEqual(rows(text, "connections allowed"), [
    "| connections allowed, per second | 2000 | 2000 | 0.980 (0.96 to 1.00) | reached |",
  ]);
  assert.deepEqual(rows(text, "round trip"), [
    "| round trip, 1 connection, p50 µs | 100 | 104 | 1.040 (0.90 to 1.05) | **missed** |",
  ]);
});

test("report leaves out what was not measured", () => {
  const text = report({ memory: { haproxy: turns("KiB each", 3), tcpwrapd: turns("KiB each", 5) } });
  assert.deepEqual(rows(text, "idle session"), []);
  assert.deepEqual(rows(text, "tcpwrapd"), ["| tcpwrapd | 5.00 |"]);
});
