/** A real MariaDB client reaches a real server through the daemon, or is reset. */

import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync, appendFileSync } from "node:fs";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { answering, type Finished, freePort, needPrograms, run, startServer } from "../support/program.ts";

needPrograms("/usr/sbin/mariadbd", "/usr/bin/mariadb", "/usr/bin/mariadb-install-db");

/** Making the data folder takes longest, so all tests share one server. */
const shared = { folder: "", port: 0, socket: "" };
const cleaning: (() => unknown)[] = [];

before(async () => {
  const folder = mkdtempSync(join(tmpdir(), "tcpwrapd-mariadb-"));
  const asMysql = userInfo().uid === 0 ? ["--user=mysql"] : [];
  if (userInfo().uid === 0) {
    const [uid = 0, gid = 0] = ["-u", "-g"].map((flag) =>
      Number(execFileSync("id", [flag, "mysql"], { encoding: "utf8" })),
    );
    chownSync(folder, uid, gid);
  }
  chmodSync(folder, 0o755);
  const data = `--datadir=${folder}/data`;
  execFileSync("mariadb-install-db", [
    "--no-defaults",
    data,
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
    ...asMysql,
  ]);
  writeFileSync(
    join(folder, "init.sql"),
    "CREATE USER app@'%' IDENTIFIED BY 'pw';\nGRANT ALL ON *.* TO app@'%';\n",
    { mode: 0o644 },
  );
  const port = await freePort();
  const socket = join(folder, "my.sock");
  const small = [
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--performance-schema=0",
    "--skip-name-resolve",
  ];
  const where = [
    `--socket=${socket}`,
    `--port=${port}`,
    "--bind-address=127.0.0.1",
    `--pid-file=${folder}/pid`,
  ];
  const context = { after: (clean: () => unknown) => cleaning.unshift(clean) } as unknown as TestContext;
  const server = startServer(context, "/usr/sbin/mariadbd", [
    "--no-defaults",
    data,
    ...where,
    ...small,
    `--init-file=${folder}/init.sql`,
    ...asMysql,
  ]);
  cleaning.push(() => rmSync(folder, { recursive: true, force: true }));
  await answering(port, server);
  Object.assign(shared, { folder, port, socket });
});

after(async () => {
  for (const clean of cleaning) await clean();
});

async function query(port: number, sql: string): Promise<Finished> {
  const where = ["--protocol=tcp", "-h", "127.0.0.1", "-P", String(port), "--connect-timeout=10"];
  return await run("/usr/bin/mariadb", [
    "--no-defaults",
    ...where,
    "-uapp",
    "-ppw",
    "--batch",
    "--skip-column-names",
    "-e",
    sql,
  ]);
}

for (const [by, backend] of [
  ["TCP", () => `127.0.0.1:${shared.port}`],
  ["its socket", () => `unix:${shared.socket}`],
] as const) {
  test(`mysqld: a query goes through, to the server by ${by}`, async (t) => {
    const daemon = await RunningDaemon.start(t, {
      services: { mysqld: backend() },
      deny: "mysqld : ALL EXCEPT localhost\n",
    });
    const { status, out, err } = await query(daemon.port("mysqld"), "SELECT 6*7");
    assert.deepEqual([status, out], [0, "42\n"], err);
    const end = await daemon.find(({ event }) => event === "end");
    assert.match(end.cause ?? "", /^(client|backend)_closed$/);
  });
}

test("mysqld: a client that may not is reset before the greeting, and the server never counts it", async (t) => {
  const daemon = await RunningDaemon.start(t, {
    services: { mysqld: `127.0.0.1:${shared.port}` },
    deny: "mysqld : ALL EXCEPT 192.0.2.\n",
  });
  const counted = async (): Promise<string> =>
    (await query(shared.port, "SHOW GLOBAL STATUS LIKE 'Aborted_connects'")).out;
  const before = await counted();
  assert.match(before, /^Aborted_connects\t\d+\n$/);
  const { status, err } = await query(daemon.port("mysqld"), "SELECT 1");
  assert.match(err, /Lost connection|Can't connect/);
  assert.equal(status, 1);
  assert.equal(await counted(), before);
  const refuse = await daemon.find(({ event }) => event === "refuse");
  assert.deepEqual(refuse.rule, { file: daemon.denyFile, line: 1 });
});

test("mysqld: 64 MiB of rows come through with the hash that the server computes", async (t) => {
  const daemon = await RunningDaemon.start(t, {
    services: { mysqld: `127.0.0.1:${shared.port}` },
    allow: "",
    deny: "",
  });
  const port = daemon.port("mysqld");
  // A row is a MiB of its own number's hash, repeated.
  const rows = "SELECT REPEAT(SHA2(seq, 256), 16384) FROM mysql.seq_1_to_64";
  const { status, out, err } = await query(port, rows);
  assert.equal(status, 0, err);
  assert.equal(out.length, 64 * (1024 * 1024 + 1));
  const expected = Array.from({ length: 64 }, (_, row) =>
    createHash("sha256")
      .update(String(row + 1))
      .digest("hex")
      .repeat(16_384),
  );
  assert.equal(
    createHash("sha256").update(out).digest("hex"),
    createHash("sha256")
      .update(`${expected.join("\n")}\n`)
      .digest("hex"),
  );
});

test("mysqld: an edit refuses the next login while the open session goes on", async (t) => {
  const daemon = await RunningDaemon.start(t, {
    services: { mysqld: `127.0.0.1:${shared.port}` },
    allow: "",
    deny: "",
  });
  const port = daemon.port("mysqld");
  const args = [
    "--no-defaults",
    "--protocol=tcp",
    "-h",
    "127.0.0.1",
    "-P",
    String(port),
    "-uapp",
    "-ppw",
    "--batch",
    "--skip-column-names",
    "--unbuffered",
  ];
  const session = spawn("/usr/bin/mariadb", args, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => session.kill());
  const ask = async (sql: string): Promise<string> =>
    await new Promise((resolve, reject) => {
      session.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString()));
      session.once("exit", (status) => reject(new Error(`the client ended with ${status}`)));
      session.stdin.write(`${sql};\n`);
    });
  assert.equal(await ask("SELECT 1"), "1\n");
  appendFileSync(daemon.denyFile, "mysqld: ALL\n");
  assert.match((await query(port, "SELECT 2")).err, /Lost connection|Can't connect/);
  assert.equal(await ask("SELECT 3"), "3\n");
});
