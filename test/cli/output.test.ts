/** What becomes of a command whose output nobody takes. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const tables = ["--allow-file", "/nonexistent", "--deny-file", "/nonexistent"];

for (const args of [["--help"], ["check", ...tables], ["match", "sshd", "192.0.2.7", ...tables]])
  test(`${args[0]} on a full disk ends with 74 and one line`, async () => {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
    });
    let errors = "";
    child.stderr?.on("data", (chunk: Buffer) => (errors += chunk.toString()));
    const [status] = (await once(child, "close")) as [number];
    assert.equal(status, 74);
    assert.equal(errors, "tcpwrapd: cannot write the output: ENOSPC\n");
  });

test("match --stdin whose reader has gone ends with 74 and without a word", async () => {
  const child = spawn(process.execPath, [program, "match", "--stdin", "--json", ...tables]);
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  child.stdin.on("error", () => undefined);
  child.stdout.once("data", () => child.stdout.destroy());
  child.stdin.write('{"daemon":"sshd","clientAddr":"192.0.2.7"}\n'.repeat(100_000));
  const [status] = (await once(child, "close")) as [number];
  assert.equal(status, 74);
  assert.equal(errors, "");
});
