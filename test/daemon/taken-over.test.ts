/** What a worker that somebody has taken over can do to its supervisor by the pipe between them. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { startBackend, talk } from "../support/peers.ts";
import { scratchFolder } from "../support/scratch.ts";

const skip = process.getuid?.() === 0 ? false : "only root can become somebody else; run this test as root";

/** Runs in the workers: at SIGUSR2 it says what the file has, and tells on descriptor 2 what the supervisor answers. */
const intruder = (words: string) => `
import { readFileSync, writeSync } from "node:fs";
if (process.send)
  process.on("SIGUSR2", () => {
    // Not before: who listens first would take the words that the worker waits for.
    process.on("message", tell);
    for (const word of JSON.parse(readFileSync(${JSON.stringify(words)}, "utf8"))) process.send(word);
  });
function tell(said) {
  if (said.answer >= 90000) writeSync(2, "ANSWER " + JSON.stringify(said) + "\\n");
}`;

interface TakenOver {
  readonly daemon: RunningDaemon;
  /** Has the worker say these, and gives what the supervisor answered to them by the time that it answered the last. */
  readonly say: (...words: readonly unknown[]) => Promise<string>;
}

async function takeOver(t: TestContext, backend: string, yaml: string): Promise<TakenOver> {
  const folder = scratchFolder(t);
  const [script, words] = [join(folder, "intruder.mjs"), join(folder, "words.json")];
  writeFileSync(script, intruder(words));
  const daemon = await RunningDaemon.start(t, {
    services: { sshd: backend },
    yaml,
    environment: { NODE_OPTIONS: `--import ${script}` },
    folderMode: 0o755,
    allow: "ALL: ALL\n",
  });
  const say = async (...said: readonly unknown[]) => {
    const before = daemon.errors.length;
    writeFileSync(words, JSON.stringify([...said, { ask: 99_999, name: "sessions", argument: 0 }]));
    process.kill(daemon.workers()[0] ?? 0, "SIGUSR2");
    for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 20) {
      const answers = daemon.errors.slice(before);
      if (answers.includes('{"answer":99999')) return answers;
      await pause(20);
    }
    throw new Error(`the supervisor is silent: ${daemon.errors}`);
  };
  return { daemon, say };
}

test("words that do not read end no supervisor, and what they say is not believed", async (t) => {
  const backend = await startBackend(t);
  const { daemon, say } = await takeOver(t, backend.address, "names: {reverse: never}\n");
  const tables = (more: object) => ({
    generation: 99,
    allowRules: 1,
    denyRules: 1,
    diagnostics: [],
    ...more,
  });
  const answers = await say(
    null,
    5,
    "word",
    [],
    { answer: 1, error: null },
    { answer: "one", value: 1 },
    { ask: {}, name: {} },
    { ask: 90_000, name: "constructor", argument: { mine: true } },
    { ask: 90_001, name: "__proto__", argument: 1 },
    { ask: 90_002, name: "sessions", argument: "many" },
    { ask: 90_003, name: "tables", argument: null },
    { ask: 90_004, name: "tables", argument: tables({ diagnostics: 5 }) },
    { ask: 90_005, name: "tables", argument: tables({ diagnostics: [null] }) },
    { ask: 90_006, name: "tables", argument: tables({ generation: "99" }) },
  );
  for (let number = 90_000; number <= 90_006; number += 1)
    assert.match(answers, new RegExp(`^ANSWER \\{"answer":${number},"error"`, "m"));
  const [worker = 0] = daemon.workers();
  process.kill(worker, "SIGKILL");
  await daemon.find(({ code }) => code === "worker-died");
  assert.equal((await talk(daemon.port("sshd"), { say: "still served" })).text, "still served");
  assert.equal(await daemon.end("SIGTERM"), 0);
});

test(
  "a worker gets neither a descriptor of the supervisor's, nor a socket from another's address",
  { skip },
  async (t) => {
    const backend = await startBackend(t);
    const yaml = `names: {reverse: never}
process: {user: nobody}
services: {echo: {listen: ["127.0.0.1:0"], exec: [/bin/echo, printed]}}
`;
    const { daemon, say } = await takeOver(t, backend.address, yaml);
    const order = (program: object) => ({ id: 1, program, hasConnection: false, tellsErrors: false });
    const argv = ["/bin/echo", "printed"];
    const answers = await say(
      { ask: 90_000, name: "startProgram", argument: order({ argv, connection: 2 }) },
      { ask: 90_001, name: "openFrom", argument: { address: "192.0.2.7", target: "127.0.0.1" } },
    );
    assert.match(answers, /"answer":90001,"error":\{.*no service has source: client/);
    assert.equal((await talk(daemon.port("echo"), { isHalfClosed: false })).text, "printed\n");
    assert.doesNotMatch(daemon.errors, /^printed$/m, "descriptor 2 is the supervisor's own");
  },
);
