/** Real backends behind the whole daemon: they see the client, the record's id, and nobody who was refused. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { talk } from "../support/peers.ts";
import { answering, freePort, needPrograms, run, startServer, type Finished } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

const clientAddress = "127.0.0.66";
const shared = { port: 0 };
const cleaning: (() => unknown)[] = [];

before(async () => {
  needPrograms("/usr/sbin/haproxy", "/usr/sbin/nginx", "/usr/sbin/mariadbd", "/usr/bin/mariadb");
  shared.port = await startMariadb();
});

after(async () => {
  for (const clean of cleaning) await clean();
});

/** A server that believes PROXY headers of 127.0.0.1, and lets app in from one address only. */
async function startMariadb(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-mariadb-"));
  const isRoot = userInfo().uid === 0;
  const asMysql = isRoot ? ["--user=mysql"] : [];
  if (isRoot) {
    const [uid = 0, gid = 0] = ["-u", "-g"].map((flag) =>
      Number(execFileSync("id", [flag, "mysql"], { encoding: "utf8" })),
    );
    chownSync(folder, uid, gid);
  }
  chmodSync(folder, 0o755);
  const data = `--datadir=${folder}/data`;
  const quick = ["--auth-root-authentication-method=normal", "--skip-test-db", ...asMysql];
  execFileSync("mariadb-install-db", ["--no-defaults", data, ...quick], { stdio: "pipe" });
  writeFileSync(
    join(folder, "init.sql"),
    `CREATE USER app@'${clientAddress}' IDENTIFIED BY 'pw';\nGRANT ALL ON *.* TO app@'${clientAddress}';\nCREATE USER watcher@'127.0.0.1';\nGRANT ALL ON *.* TO watcher@'127.0.0.1';\n`,
    { mode: 0o644 },
  );
  const port = await freePort();
  const context = { after: (clean: () => unknown) => cleaning.unshift(clean) } as unknown as TestContext;
  const server = startServer(context, "/usr/sbin/mariadbd", [
    "--no-defaults",
    data,
    `--socket=${folder}/my.sock`,
    `--port=${port}`,
    "--bind-address=127.0.0.1",
    `--pid-file=${folder}/pid`,
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--performance-schema=1",
    "--proxy-protocol-networks=127.0.0.1",
    `--init-file=${folder}/init.sql`,
    ...asMysql,
  ]);
  cleaning.push(() => rmSync(folder, { recursive: true, force: true }));
  await answering(port, server);
  return port;
}

async function query(port: number, login: readonly string[], sql: string): Promise<Finished> {
  const where = ["--protocol=tcp", "-h", "127.0.0.1", "-P", String(port), "--connect-timeout=10"];
  return await run("/usr/bin/mariadb", ["--no-defaults", ...where, ...login, "-BN", "-e", sql]);
}

/** A port whose clients reach another port from the client's address: this client program cannot choose its own. */
async function from(t: TestContext, port: number): Promise<number> {
  const server = createServer((near) => {
    const far = connect({ port, host: "127.0.0.1", localAddress: clientAddress });
    for (const socket of [near, far]) socket.on("error", () => (near.destroy(), far.destroy()));
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** What the server has counted against its clients; a connection without a login is among it. */
async function counted(): Promise<string> {
  const sql =
    "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Aborted_connects%' OR Variable_name LIKE 'Connection_errors%'; SELECT COALESCE(SUM(SUM_CONNECT_ERRORS), 0) FROM performance_schema.host_cache";
  const { out, err } = await query(shared.port, ["-uwatcher"], sql);
  assert.match(out, /Aborted_connects\t\d+/, err);
  return out;
}

async function mysqld(t: TestContext, more: string): Promise<RunningDaemon> {
  return await RunningDaemon.start(t, {
    services: {},
    yaml: `names: {reverse: never}\nservices: {mysqld: {listen: ["127.0.0.1:0"], backend: "127.0.0.1:${shared.port}"${more}}}\n`,
    allow: `mysqld: ${clientAddress}\n`,
    deny: "ALL: ALL\n",
  });
}

for (const version of ["v1", "v2"]) {
  test(`C1: MariaDB sees the client of the daemon by PROXY ${version}, in USER() and in its grants`, async (t) => {
    const daemon = await mysqld(t, `, proxyProtocol: {send: ${version}}`);
    const { out, err } = await query(
      await from(t, daemon.port("mysqld")),
      ["-uapp", "-ppw"],
      "SELECT USER(), CURRENT_USER()",
    );
    assert.equal(out, `app@${clientAddress}\tapp@${clientAddress}\n`, err);
    const end = await daemon.find(({ event }) => event === "end");
    assert.equal(end.client?.address, clientAddress);
    assert.equal(daemon.records.filter(({ code }) => code === "proxy-unexpected").length, 0);
  });
}

test("H9: MariaDB counts no error for 1,000 refused clients, nor for clients that were gone when they were accepted", async (t) => {
  const daemon = await mysqld(t, "");
  const port = daemon.port("mysqld");
  const before = await counted();
  for (let batch = 0; batch < 20; batch += 1)
    await Promise.all(Array.from({ length: 50 }, () => talk(port, { isHalfClosed: false })));
  await daemon.find(() => daemon.records.filter(({ reason }) => reason === "rule").length === 1000);
  assert.equal(await counted(), before);

  // The daemon is stopped while they come and go, so that it finds each of them reset.
  for (const pid of daemon.workers()) process.kill(pid, "SIGSTOP");
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      const socket = connect({ port, host: "127.0.0.1", localAddress: clientAddress });
      socket.on("error", () => undefined);
      await new Promise<void>((resolve) => socket.once("connect", resolve));
      socket.resetAndDestroy();
    }),
  );
  for (const pid of daemon.workers()) process.kill(pid, "SIGCONT");
  await daemon.find(() => daemon.records.filter(({ reason }) => reason === "aborted").length === 100);
  assert.equal(await counted(), before);
});

test("C4: HAProxy accepts our header with its checksum, and the unique id is the id of the record", async (t) => {
  const folder = scratchFolder(t);
  const port = await freePort();
  const answer = "%[src] %[src_port] %[fc_pp_unique_id]";
  writeFileSync(
    join(folder, "haproxy.cfg"),
    `defaults
  mode http
  timeout client 5s
  timeout connect 5s
  timeout server 5s
frontend proxied
  bind 127.0.0.1:${port} accept-proxy
  http-request return status 200 content-type text/plain lf-string "${answer}"
`,
  );
  await answering(port, startServer(t, "/usr/sbin/haproxy", ["-db", "-f", join(folder, "haproxy.cfg")]));
  const daemon = await web(t, port, "v2");
  const page = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
  const { text, localPort } = await get(daemon.port("web"), page);
  const accept = await daemon.find(({ event }) => event === "accept");
  assert.equal(text.trimEnd().split("\r\n\r\n")[1], `${clientAddress} ${localPort} ${accept.id}`);
});

for (const version of ["v1", "v2"] as const) {
  test(`C3: nginx takes our PROXY header ${version}, and names the client`, async (t) => {
    const folder = scratchFolder(t);
    const port = await freePort();
    writeFileSync(
      join(folder, "nginx.conf"),
      `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid ${folder}/pid;
error_log stderr;
events {}
stream { server { listen 127.0.0.1:${port} proxy_protocol; return "$proxy_protocol_addr $proxy_protocol_port"; } }
`,
    );
    const nginx = startServer(t, "/usr/sbin/nginx", ["-c", join(folder, "nginx.conf"), "-p", folder]);
    await answering(port, nginx);
    const daemon = await web(t, port, version);
    const { text, localPort } = await get(daemon.port("web"));
    assert.equal(text, `${clientAddress} ${localPort}`);
  });
}

async function web(t: TestContext, port: number, version: "v1" | "v2"): Promise<RunningDaemon> {
  return await RunningDaemon.start(t, {
    services: {},
    yaml: `names: {reverse: never}\nservices: {web: {listen: ["127.0.0.1:0"], backend: "127.0.0.1:${port}", proxyProtocol: {send: ${version}}}}\n`,
    allow: `web: ${clientAddress}\n`,
    deny: "ALL: ALL\n",
  });
}

/** What a server says that is asked this, to its end. */
async function get(
  port: number,
  question = "",
): Promise<{ readonly text: string; readonly localPort: number }> {
  const socket = connect({ port, host: "127.0.0.1", localAddress: clientAddress });
  socket.write(question);
  await new Promise((resolve) => socket.once("connect", resolve));
  const { localPort = 0 } = socket;
  const text = (await socket.setEncoding("utf8").toArray()).join("");
  return { text, localPort };
}
