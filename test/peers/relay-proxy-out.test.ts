/** Real backends are told by a PROXY header who their client is, and believe it. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { chooseRelay } from "../../src/relay/choose.ts";
import { dial } from "../../src/relay/dial.ts";
import { buildProxyHeader, type ProxyHeaderOptions } from "../../src/relay/proxy-header.ts";
import { Wire } from "../../src/platform/wire.ts";
import { reset } from "../../src/platform/reset.ts";
import { answering, freePort, needPrograms, run, startServer, type Finished } from "../support/program.ts";

needPrograms("/usr/sbin/haproxy", "/usr/sbin/mariadbd", "/usr/bin/mariadb", "/usr/bin/mariadb-install-db");

const { relay } = await chooseRelay("fast");

const v4 = { client: { address: "203.0.113.7", port: 54321 }, server: { address: "198.51.100.1", port: 22 } };
const v6 = { client: { address: "2001:db8::9", port: 54321 }, server: { address: "2001:db8::1", port: 22 } };
const mapped = { client: { address: "::ffff:203.0.113.7", port: 54321 }, server: v4.server };

/** Fronts a backend: every client is relayed behind the header. */
async function front(t: TestContext, backendPort: number, header: ProxyHeaderOptions): Promise<number> {
  const bytes = buildProxyHeader(header);
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    client.on("error", () => undefined);
    const backend = { kind: "tcp", host: "127.0.0.1", port: backendPort } as const;
    dial(backend, { connectTimeoutMs: 5000, header: bytes }).then(
      (wire) => relay(Wire.of(client), wire, { idleMs: 10_000 }),
      () => reset(client),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => void server.close());
  return (server.address() as AddressInfo).port;
}

test("HAProxy accept-proxy sees the client that the header names, and its unique id", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "relay-haproxy-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const port = await freePort();
  const answer = "%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_unique_id]";
  writeFileSync(
    join(folder, "haproxy.cfg"),
    `global
  maxconn 100
defaults
  mode http
  timeout client 5s
  timeout connect 5s
  timeout server 5s
frontend proxied
  bind 127.0.0.1:${port} accept-proxy
  http-request return status 200 content-type text/plain lf-string "${answer}"
`,
  );
  const haproxy = startServer(t, "/usr/sbin/haproxy", ["-db", "-f", join(folder, "haproxy.cfg")]);
  await answering(port, haproxy);
  const ask = async (header: ProxyHeaderOptions): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${await front(t, port, header)}/`, {
      headers: { connection: "close" },
    });
    return (await response.text()).trimEnd();
  };
  assert.equal(await ask({ version: "v1", connection: v4 }), "203.0.113.7 54321 198.51.100.1 22");
  assert.equal(await ask({ version: "v1", connection: v6 }), "2001:db8::9 54321 2001:db8::1 22");
  assert.equal(
    await ask({ version: "v2", connection: v4, uniqueId: "c0ffee" }),
    "203.0.113.7 54321 198.51.100.1 22 c0ffee",
  );
  assert.equal(await ask({ version: "v2", connection: mapped }), "203.0.113.7 54321 198.51.100.1 22");
  assert.equal(
    await ask({ version: "v2", connection: v6, uniqueId: "id" }),
    "2001:db8::9 54321 2001:db8::1 22 id",
  );
  // C2: of a client without an address HAProxy keeps the real one of the connection.
  assert.match(await ask({ version: "v1" }), /^127\.0\.0\.1 \d+ 127\.0\.0\.1 /);
  assert.match(await ask({ version: "v2", uniqueId: "unix" }), /^127\.0\.0\.1 \d+ 127\.0\.0\.1 /);
});

test("MariaDB sees the true client in USER(), in its grants and in its process list", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "relay-mariadb-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const asMysql = userInfo().uid === 0 ? ["--user=mysql"] : [];
  if (userInfo().uid === 0) {
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
    ["203.0.113.7", "2001:db8::9"].map((host) => `CREATE USER app@'${host}' IDENTIFIED BY 'pw';\n`).join(""),
    { mode: 0o644 },
  );
  const port = await freePort();
  const server = startServer(t, "/usr/sbin/mariadbd", [
    "--no-defaults",
    data,
    `--socket=${folder}/my.sock`,
    `--port=${port}`,
    "--bind-address=127.0.0.1",
    `--pid-file=${folder}/pid`,
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--performance-schema=0",
    "--skip-name-resolve",
    "--proxy-protocol-networks=127.0.0.1",
    `--init-file=${folder}/init.sql`,
    ...asMysql,
  ]);
  await answering(port, server);
  const ask = async (header: ProxyHeaderOptions): Promise<Finished> => {
    const where = ["--protocol=tcp", "-h", "127.0.0.1", "-P", String(await front(t, port, header))];
    const sql =
      "SELECT USER(), CURRENT_USER(), (SELECT HOST FROM information_schema.processlist WHERE ID=CONNECTION_ID())";
    const client = ["--no-defaults", ...where, "-uapp", "-ppw", "--connect-timeout=10", "-BN", "-e", sql];
    return await run("/usr/bin/mariadb", client);
  };
  for (const [version, connection, host] of [
    ["v1", v4, "203.0.113.7"],
    ["v2", v4, "203.0.113.7"],
    ["v2", mapped, "203.0.113.7"],
    ["v2", v6, "2001:db8::9"],
  ] as const) {
    const { out, err } = await ask({ version, connection, uniqueId: "c0ffee" });
    assert.equal(out, `app@${host}\tapp@${host}\t${host}:54321\n`, err);
  }
  // The grants are for these two addresses only: the relay's own is refused, so the header has decided above.
  const local = await ask({ version: "v2" });
  assert.notEqual(local.status, 0);
  assert.match(local.err, /Host '127\.0\.0\.1' is not allowed|Access denied for user 'app'@'127\.0\.0\.1'/);
});
