/** What the shell offers at the Tab key. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

function run(args: readonly string[], shell: string): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: "utf8",
    env: { ...process.env, SHELL: shell },
  });
  assert.equal(stderr, "");
  assert.equal(status, 0);
  return stdout;
}

test("completion prints a script that bash takes, and another one for zsh", () => {
  const script = run(["completion"], "/bin/bash");
  const { status, stderr } = spawnSync("bash", ["-n"], { input: script, encoding: "utf8" });
  assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
  assert.match(script, /^complete .* _tcpwrapd_yargs_completions tcpwrapd$/m);
  assert.match(run(["completion"], "/bin/zsh"), /^#compdef tcpwrapd$/m);
});

test("bash completes commands, and the flags of a command", () => {
  const script = run(["completion"], "/bin/bash");
  const complete = (words: readonly string[]): string[] => {
    // The script calls "tcpwrapd"; here that is a function that runs this one.
    const quoted = words.map((word) => `'${word}'`).join(" ");
    const asked = `tcpwrapd() { '${process.execPath}' '${program}' "$@"; }
${script}
COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _tcpwrapd_yargs_completions; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync("bash", ["-c", asked], {
      encoding: "utf8",
      env: { ...process.env, SHELL: "/bin/bash" },
    });
    assert.equal(stderr, "");
    return stdout
      .trim()
      .split("\n")
      .filter((each) => each !== "");
  };
  assert.deepEqual(complete(["tcpwrapd", "mat"]), ["match"]);
  assert.deepEqual(complete(["tcpwrapd", "run", "--allow"]), ["--allow-file"]);
  assert.ok(complete(["tcpwrapd", ""]).includes("run"));
});
