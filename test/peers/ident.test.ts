/** Ident against the programs that made it: libwrap, which asks, and oidentd, which answers. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { before, test } from "node:test";
import { Lookups } from "../../src/identify/lookups.ts";
import { requestOf } from "../../src/identify/request.ts";
import { answering, freePort, needPrograms, run, startServer } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

const support = join(import.meta.dirname, "../support");

before(() => needPrograms("/usr/bin/gcc", "/usr/sbin/oidentd", "/usr/bin/socat", "/usr/bin/unshare"));

test("F11: the user that we hear is the one that the installed libwrap hears, from the same odd answers", async (t) => {
  const folder = scratchFolder(t);
  const caller = join(folder, "caller");
  const built = await run("gcc", ["-w", "-o", caller, join(support, "ident-libwrap.c"), "-lwrap"]);
  assert.equal(built.status, 0, built.err);
  const script = `set -e
    ip link set lo up
    cd ${join(support, "../..")}
    exec ${process.execPath} --import tsx ${support}/ident-compare.ts ${caller}`;
  const { status, out, err } = await run("unshare", ["-n", "bash", "-c", script]);
  assert.equal(status, 0, err);
  const result = JSON.parse(out) as {
    compared: number;
    counts: object;
    queries: string[];
    differences: object[];
  };
  t.diagnostic(
    `${result.compared} answers compared with libwrap, ${result.differences.length} undeclared differences`,
  );
  t.diagnostic(`ours: ${JSON.stringify(result.counts)}`);
  assert.deepEqual(
    result.queries,
    ['"N,22\\r\\n" 127.0.0.2 127.0.0.1'],
    "both ask the same, from the same address",
  );
  assert.deepEqual(result.differences, []);
});

test("oidentd tells whose connection it is", async (t) => {
  const folder = scratchFolder(t);
  const config = join(folder, "oidentd.conf");
  writeFileSync(config, "default { default { deny spoof } }\n");
  const identPort = await freePort();
  const flags = [
    "-i",
    "-S",
    "-a",
    "127.0.0.1",
    "-p",
    String(identPort),
    "-u",
    "nobody",
    "-g",
    "nogroup",
    "-C",
    config,
  ];
  await answering(identPort, startServer(t, "/usr/sbin/oidentd", flags));
  const listener = createServer({ pauseOnConnect: true });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  const names = { reverse: "never", timeoutMs: 1000, servers: [], hostsFile: "" } as const;
  const lookups = new Lookups({ ...names, identTimeoutMs: 3000, identPort });
  t.after(() => {
    listener.close();
    lookups.close();
  });
  for (const [uid, user] of [
    [0, "root"],
    [1, "daemon"],
  ] as const) {
    const arrival = once(listener, "connection");
    const client = spawn("socat", ["-u", `TCP:127.0.0.1:${port}`, "STDOUT"], { uid, stdio: "ignore" });
    const [socket] = (await arrival) as [Socket];
    const request = requestOf(socket, "sshd") ?? assert.fail("gone");
    const found = await lookups.find({ kind: "user" }, request, new AbortController().signal);
    assert.equal(found.user, user);
    const other = { ...request, client: { ...request.client, port: 1 } };
    const stranger = await lookups.find({ kind: "user" }, other, new AbortController().signal);
    assert.equal(stranger.user, "unknown", "there is no such connection");
    const exited = once(client, "exit");
    socket.destroy();
    await exited;
  }
});
