/** What sshd makes of clients that it cannot see: its limits for each source, and a header that it does not know. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { before, test, type TestContext } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { talk } from "../support/peers.ts";
import { answering, freePort, needPrograms, run, startServer, type Finished } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

before(() => {
  needPrograms("/usr/sbin/sshd", "/usr/bin/ssh");
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
});

/** PerSourceMaxStartups stands for the penalties of newer versions: both count by the address that sshd sees. */
function writeConfig(folder: string, port: number): string {
  for (const key of ["host", "user"])
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, key)]);
  const lines = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${folder}/host`,
    `AuthorizedKeysFile ${folder}/user.pub`,
    "PidFile none",
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "PermitRootLogin prohibit-password",
    "PerSourceMaxStartups 1",
  ];
  writeFileSync(join(folder, "sshd_config"), `${lines.join("\n")}\n`);
  return join(folder, "sshd_config");
}

async function login(folder: string, port: number): Promise<Finished> {
  const options = [
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "ConnectTimeout=5",
  ];
  return await run("/usr/bin/ssh", [
    "-F",
    "none",
    "-b",
    "127.0.0.1",
    "-i",
    join(folder, "user"),
    "-p",
    String(port),
    ...options.flatMap((option) => ["-o", option]),
    `${userInfo().username}@127.0.0.1`,
    "echo in",
  ]);
}

/** A client that connects and never logs in. */
async function idler(t: TestContext, port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", localAddress: "127.0.0.66" });
  socket.on("error", () => undefined);
  t.after(() => socket.destroy());
  await once(socket, "data");
  return socket;
}

test("H12: behind a relay one bad client uses up the places of all, by hand-over the good one gets in", async (t) => {
  const folder = scratchFolder(t);
  const port = await freePort();
  const config = writeConfig(folder, port);
  await answering(port, startServer(t, "/usr/sbin/sshd", ["-D", "-e", "-f", config]));
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: `names: {reverse: never}
services:
  relayed: {listen: ["127.0.0.1:0"], backend: "127.0.0.1:${port}"}
  handed: {listen: ["127.0.0.1:0"], exec: [/usr/sbin/sshd, -i, -e, -f, ${config}]}
`,
    allow: "",
    deny: "",
  });
  const [relayed, handed] = [daemon.port("relayed"), daemon.port("handed")];
  assert.equal((await login(folder, relayed)).out, "in\n");
  await idler(t, relayed);
  assert.notEqual((await login(folder, relayed)).status, 0);
  await idler(t, handed);
  const { out, err } = await login(folder, handed);
  assert.equal(out, "in\n", err);
});

test("C5: sshd behind a PROXY header, which it takes for a client's nonsense, is named in the log", async (t) => {
  const folder = scratchFolder(t);
  const port = await freePort();
  await answering(port, startServer(t, "/usr/sbin/sshd", ["-D", "-e", "-f", writeConfig(folder, port)]));
  const daemon = await RunningDaemon.start(t, {
    services: {},
    yaml: `names: {reverse: never}\nservices: {sshd: {listen: ["127.0.0.1:0"], backend: "127.0.0.1:${port}", proxyProtocol: {send: v1}}}\n`,
    allow: "",
    deny: "",
  });
  // A client that waits for the greeting: one that speaks at once may have had a short session.
  const { text } = await talk(daemon.port("sshd"), { isHalfClosed: false });
  assert.match(text, /^SSH-2\.0-/);
  const doubt = await daemon.find(({ code }) => code === "proxy-unexpected");
  assert.match(String(doubt["hint"]), /sshd: use "exec"/);
});
