/** `tcpwrapd services`: real listeners, started here, and what is said of them. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { ServiceRow } from "../../src/cli/services-report.ts";
import { runCommand } from "../support/cli.ts";
import { RunningDaemon } from "../support/daemon.ts";
import { scratchFolder } from "../support/scratch.ts";

interface Report {
  readonly services: readonly ServiceRow[];
  readonly unseen: { readonly processes: number; readonly sockets: number };
  readonly daemon: boolean;
}

async function listen(t: TestContext, host: string): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, "listening");
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function services(...flags: string[]): Promise<Report> {
  const { status, output, errors } = await runCommand(["services", "--json", ...flags]);
  assert.deepEqual({ status, errors }, { status: 0, errors: "" });
  return JSON.parse(output) as Report;
}

function rowOf({ services }: Report, port: number): ServiceRow {
  const row = services.find((each) => each.port === port);
  assert.ok(row !== undefined, `nobody listens on ${port}`);
  return row;
}

function tables(t: TestContext, allow: string, deny: string): string[] {
  const folder = scratchFolder(t);
  const [allowFile, denyFile] = ["hosts.allow", "hosts.deny"].map((name) => join(folder, name));
  writeFileSync(allowFile ?? "", allow);
  writeFileSync(denyFile ?? "", deny);
  return [
    "--allow-file",
    allowFile ?? "",
    "--deny-file",
    denyFile ?? "",
    "--control-socket",
    join(folder, "none"),
  ];
}

const addresses: [host: string, reach: string][] = [
  ["127.0.0.1", "loopback"],
  ["127.0.0.66", "loopback"],
  ["::1", "loopback"],
  ["0.0.0.0", "world"],
  ["::", "world"],
];
for (const [host, reach] of addresses) {
  test(`services: a listener on ${host} is open to ${reach === "world" ? "the world" : "this machine only"}, and ours`, async (t) => {
    const port = await listen(t, host);
    const report = await services("-c", "/dev/null", ...tables(t, "", ""));
    const row = rowOf(report, port);
    assert.deepEqual(
      { ...row, unit: null },
      {
        protocol: "tcp",
        address: host,
        port,
        reach,
        program: "node",
        pids: row.pids,
        user: userInfo().username,
        unit: null,
        libwrap: false,
        tables: { named: "no" },
        fronted: null,
        backendOf: null,
        filteredBy: null,
      },
    );
    assert.ok(row.pids.includes(process.pid));
    assert.equal(report.daemon, false);
  });
}

test("services: a datagram socket that takes from anybody is one too, and one that is connected is not", async (t) => {
  const [open, connected] = [createSocket("udp4"), createSocket("udp4")];
  t.after(() => [open, connected].map((socket) => socket.close()));
  open.bind(0, "127.0.0.1");
  await once(open, "listening");
  connected.connect(open.address().port, "127.0.0.1");
  await once(connected, "connect");
  const report = await services("-c", "/dev/null", ...tables(t, "", ""));
  assert.equal(rowOf(report, open.address().port).protocol, "udp");
  assert.ok(!report.services.some(({ port }) => port === connected.address().port));
});

test("services: rules that name a program which does not read them are told to have no effect", async (t) => {
  const port = await listen(t, "127.0.0.1");
  const flags = ["-c", "/dev/null", ...tables(t, "# x\nnode, sshd: 192.0.2.\n", "ALL: ALL\n")];
  const row = rowOf(await services(...flags), port);
  assert.deepEqual([row.tables.named, row.tables.line], ["name", 2]);
  assert.equal(row.note, "the tables name it, but it does not read them: those rules have no effect");
  const { output } = await runCommand(["services", ...flags]);
  assert.match(output, /^PROTO +ADDRESS +PROGRAM +USER +UNIT +REACH +LIBWRAP +TABLES +FILTERED BY\n/);
  assert.match(
    output,
    new RegExp(`^tcp +127\\.0\\.0\\.1:${port} +node +\\S+ +\\S+ +loopback +no +name it +nobody$`, "m"),
  );
  assert.match(output, new RegExp(`^node on tcp 127\\.0\\.0\\.1:${port}: the tables name it, but`, "m"));
  assert.match(output, /^no daemon answers: what tcpwrapd fronts is told by the configuration$/m);
});

test("services: a rule for ALL, and one by port", async (t) => {
  const port = await listen(t, "127.0.0.1");
  assert.equal(
    rowOf(await services("-c", "/dev/null", ...tables(t, "", "ALL: ALL\n")), port).tables.named,
    "all",
  );
  const byPort = tables(t, `${port}: ALL\n`, "");
  assert.equal(rowOf(await services("-c", "/dev/null", ...byPort), port).tables.named, "name");
});

test("services: what a running daemon fronts, and the backend that can be reached past it", async (t) => {
  const backend = await listen(t, "0.0.0.0");
  const hidden = await listen(t, "127.0.0.1");
  const daemon = await RunningDaemon.start(t, {
    services: { echod: `127.0.0.1:${backend}`, safed: `127.0.0.1:${hidden}` },
    allow: "echod: ALL\n",
    deny: "ALL: ALL\n",
  });
  const flags = ["-c", daemon.configFile, "--allow-file", daemon.allowFile, "--deny-file", daemon.denyFile];
  const named = [
    "--service",
    `echod=127.0.0.1:0,127.0.0.1:${backend}`,
    "--service",
    `safed=127.0.0.1:0,127.0.0.1:${hidden}`,
  ];
  const report = await services(...flags, ...named, "--control-socket", daemon.controlSocket);
  const front = rowOf(report, daemon.port("echod"));
  assert.deepEqual([front.fronted, front.filteredBy, front.tables.named], ["echod", "tcpwrapd", "name"]);
  assert.equal(rowOf(report, daemon.port("safed")).tables.named, "all");
  assert.equal(report.daemon, true);
  const open = rowOf(report, backend);
  assert.equal(open.backendOf, "echod");
  assert.match(
    open.note ?? "",
    /^the backend of "echod" can be reached past tcpwrapd: let it listen on a loopback/,
  );
  const safe = rowOf(report, hidden);
  assert.deepEqual([safe.backendOf, safe.note], ["safed", undefined]);
});

test("services: without a daemon the configuration says what is fronted", async (t) => {
  const port = await listen(t, "127.0.0.1");
  const report = await services(
    "-c",
    "/dev/null",
    ...tables(t, "", ""),
    "--service",
    `x=127.0.0.1:${port},127.0.0.1:1`,
  );
  assert.equal(rowOf(report, port).fronted, "x");
});

test("services: a configuration that cannot be used hides nothing of the machine", async (t) => {
  const port = await listen(t, "127.0.0.1");
  const folder = scratchFolder(t);
  writeFileSync(join(folder, "bad.yaml"), "x: 1\n");
  const { status, output, errors } = await runCommand(["services", "--json", "-c", join(folder, "bad.yaml")]);
  assert.equal(status, 0);
  assert.match(errors, /unknown-key/);
  assert.equal(rowOf(JSON.parse(output) as Report, port).program, "node");
});
