import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const module = new URL("../../src/platform/ancestors.ts", import.meta.url).href;

test("what sudo takes away is still in the environment of the shell that has started it", () => {
  const look = `import { ancestorEnvironments } from ${JSON.stringify(module)};
    const found = [...ancestorEnvironments()].map((each) => each.get("SSH_CONNECTION"));
    console.log(JSON.stringify([process.env.SSH_CONNECTION ?? "", ...found.map((each) => each ?? "")]));`;
  const inner = `env -u SSH_CONNECTION "$NODE" --import tsx --input-type=module -e "$LOOK"; true`;
  const { stdout, stderr } = spawnSync("sh", ["-c", inner], {
    encoding: "utf8",
    env: { ...process.env, NODE: process.execPath, LOOK: look, SSH_CONNECTION: "192.0.2.7 1 192.0.2.1 22" },
  });
  const [own, parent] = JSON.parse(stdout || "[]") as string[];
  assert.deepEqual([own, parent], ["", "192.0.2.7 1 192.0.2.1 22"], stderr);
});
