import assert from "node:assert/strict";
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";

import { listenDescriptors, notifier } from "../../src/platform/systemd.ts";
import { bindAndNeverRead, receiveDatagrams, temporaryFolder } from "../support/unix-receiver.ts";

test("without a service manager every word is harmless", async () => {
  const silent = notifier({});
  assert.equal(silent.isHeard, false);
  assert.equal(silent.watchdogMs, undefined);
  await silent.ready("listening");
  silent.status("text");
  silent.reloading();
  silent.stopping();
  silent.watchdog();
  silent.mainPid(1);
  silent.extendTimeout(1000);
  silent.close();
});

test("each word arrives as sd_notify(3) spells it", async (context) => {
  const path = join(temporaryFolder(context), "notify");
  const manager = receiveDatagrams(path);
  const before = process.env["NOTIFY_SOCKET"];
  process.env["NOTIFY_SOCKET"] = path;
  context.after(() => {
    if (before === undefined) delete process.env["NOTIFY_SOCKET"];
    else process.env["NOTIFY_SOCKET"] = before;
  });
  const words = notifier({ NOTIFY_SOCKET: path });
  await words.ready("2 services");
  words.reloading();
  words.watchdog();
  words.mainPid(4711);
  words.extendTimeout(1500);
  words.stopping();
  await manager.count(6);
  const texts = manager.texts.filter((text) => !text.startsWith("BARRIER"));
  assert.ok(texts.includes("READY=1\nSTATUS=2 services"));
  assert.ok(texts.some((text) => /^RELOADING=1\nMONOTONIC_USEC=\d+$/.test(text)));
  for (const word of ["WATCHDOG=1", "MAINPID=4711", "EXTEND_TIMEOUT_USEC=1500000", "STOPPING=1"])
    assert.ok(texts.includes(word), word);
  words.close();
  manager.close();
});

test("a status is one line, and of a burst the last one is said", async (context) => {
  const path = join(temporaryFolder(context), "notify");
  const manager = receiveDatagrams(path);
  const words = notifier({ NOTIFY_SOCKET: path });
  words.status("first");
  for (let count = 0; count < 100; count++) words.status(`status ${count}`);
  words.status("last\nMAINPID=1");
  const said = (): string | undefined => manager.texts.findLast((text) => text.startsWith("STATUS="));
  for (let count = 1; said() !== "STATUS=last MAINPID=1"; count++) await manager.count(count);
  assert.ok(manager.texts.every((text) => !text.includes("\nMAINPID")));
  words.close();
  manager.close();
});

test("a manager that is not there, or has no place for a message, is told once a message and ends nothing", async (context) => {
  const path = join(temporaryFolder(context), "notify");
  const troubles: string[] = [];
  const words = notifier({ NOTIFY_SOCKET: path }, (reason) => troubles.push(reason));
  words.watchdog();
  assert.deepEqual(troubles, ["NOTIFY_SOCKET: No such file or directory"]);
  const end = await bindAndNeverRead(path);
  for (let count = 0; count < 1000; count++) words.watchdog();
  assert.deepEqual(troubles.length, 1);
  words.close();
  await end();
});

/** Puts a program called systemd-notify in the only folder of PATH; it writes its arguments to a file. */
function fakeProgram(context: TestContext, exitStatus: number | "missing"): () => string {
  const folder = temporaryFolder(context);
  const log = join(folder, "arguments");
  if (exitStatus !== "missing") {
    writeFileSync(join(folder, "systemd-notify"), `#!/bin/sh\necho "$@" >>${log}\nexit ${exitStatus}\n`, {
      mode: 0o755,
    });
  }
  const before = process.env["PATH"];
  process.env["PATH"] = folder;
  context.after(() => {
    process.env["PATH"] = before;
  });
  return () => (existsSync(log) ? readFileSync(log, "utf8") : "");
}

test("an abstract socket is reached through the systemd-notify package, which names our pid", async (context) => {
  const said = fakeProgram(context, 0);
  const troubles: string[] = [];
  const words = notifier({ NOTIFY_SOCKET: "@manager" }, (reason) => troubles.push(reason));
  assert.equal(words.isHeard, true);
  await words.ready("2 services");
  assert.equal(said(), `--ready --pid=${process.pid} --status=2 services\n`);
  assert.deepEqual(troubles, []);
  words.close();
});

for (const exitStatus of [1, "missing"] as const) {
  test(`a systemd-notify program that is ${exitStatus === 1 ? "failing" : exitStatus} is told where nothing else can speak, and no loss where a datagram can`, async (context) => {
    fakeProgram(context, exitStatus);
    const troubles: string[] = [];
    await notifier({ NOTIFY_SOCKET: "@manager" }, (reason) => troubles.push(reason)).ready();
    assert.equal(troubles.length, 1);
    assert.match(troubles[0] ?? "", /^systemd-notify: /);

    const path = join(temporaryFolder(context), "notify");
    const manager = receiveDatagrams(path);
    const words = notifier({ NOTIFY_SOCKET: path }, (reason) => troubles.push(reason));
    await words.ready();
    await manager.count(1);
    assert.deepEqual(manager.texts, ["READY=1"]);
    assert.equal(troubles.length, 1);
    words.close();
    manager.close();
  });
}

const watchdogs: [environment: Record<string, string>, ms: number | undefined, because: string][] = [
  [{ WATCHDOG_USEC: "3000000" }, 3000, "microseconds"],
  [{ WATCHDOG_USEC: "3000000", WATCHDOG_PID: String(process.pid) }, 3000, "asked of this process"],
  [{ WATCHDOG_USEC: "3000000", WATCHDOG_PID: "1" }, undefined, "asked of another process"],
  [{ WATCHDOG_USEC: "0" }, undefined, "zero asks for nothing"],
  [{ WATCHDOG_USEC: "soon" }, undefined, "no number"],
];
for (const [environment, ms, because] of watchdogs) {
  test(`watchdog ${JSON.stringify(environment)}: ${because}`, () =>
    assert.equal(notifier(environment).watchdogMs, ms));
}

test("J6: sockets of another process are left alone, and the environment is cleared all the same", () => {
  const environment: Record<string, string | undefined> = {
    LISTEN_PID: "1",
    LISTEN_FDS: "2",
    LISTEN_FDNAMES: "ssh:ssh6",
    PATH: "/bin",
  };
  assert.deepEqual(listenDescriptors(environment), { sockets: [], problems: [] });
  assert.deepEqual(environment, { PATH: "/bin" });
});

const wrong: [count: string, names: string | undefined, problem: RegExp][] = [
  ["many", undefined, /LISTEN_FDS is "many"/],
  ["-1", undefined, /LISTEN_FDS is "-1"/],
  ["99999", undefined, /LISTEN_FDS is "99999"/],
  ["0", "ssh", /LISTEN_FDNAMES has 1 names for 0 sockets/],
];
for (const [count, names, problem] of wrong) {
  test(`J6: LISTEN_FDS=${count} LISTEN_FDNAMES=${names} is told as a problem`, () => {
    const { sockets, problems } = listenDescriptors({
      LISTEN_PID: String(process.pid),
      LISTEN_FDS: count,
      ...(names && { LISTEN_FDNAMES: names }),
    });
    assert.deepEqual(sockets, []);
    assert.match(problems.join("\n"), problem);
  });
}

test("J6: a descriptor that is no socket is told as a problem", () => {
  const file = openSync("/dev/null", "r");
  const { problems } = listenDescriptors({ LISTEN_PID: String(process.pid), LISTEN_FDS: String(file - 2) });
  closeSync(file);
  assert.ok(problems.includes(`descriptor ${file} ("unknown") is no socket`));
});
