/** `tcpwrapd services` on programs that are linked with libwrap, and as a user who may see little. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { ServiceRow } from "../../src/cli/services-report.ts";
import { runCommand } from "../support/cli.ts";
import { answering, freePort, needPrograms, run, startServer } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

needPrograms("/usr/sbin/xinetd", "/usr/bin/setpriv");

test("services: xinetd has libwrap in it and so reads the tables, Node has not; another user sees neither, and is told so", async (t) => {
  const folder = scratchFolder(t);
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const [wrapped, plain] = [await freePort(), (server.address() as AddressInfo).port];
  const service = `service echo\n{\ntype = UNLISTED INTERNAL\nid = echo-stream\nsocket_type = stream\nprotocol = tcp\nuser = root\nwait = no\nport = ${wrapped}\nbind = 127.0.0.1\n}\n`;
  writeFileSync(join(folder, "xinetd.conf"), service);
  const conf = ["-dontfork", "-f", join(folder, "xinetd.conf"), "-pidfile", join(folder, "pid")];
  await answering(wrapped, startServer(t, "/usr/sbin/xinetd", conf));
  writeFileSync(join(folder, "allow"), "xinetd node: 127.\n");
  const flags = ["-c", "/dev/null", "--allow-file", join(folder, "allow"), "--deny-file", "/dev/null"];
  const { output } = await runCommand(["services", "--json", ...flags]);
  const { services } = JSON.parse(output) as { services: ServiceRow[] };
  const told = [wrapped, plain].map((port) => {
    const row = services.find((each) => each.port === port);
    return [row?.program, row?.libwrap, row?.filteredBy, row?.note === undefined];
  });
  assert.deepEqual(told, [
    ["xinetd", true, "libwrap", true],
    ["node", false, null, false],
  ]);
  const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
  const asNobody = [
    "--reuid=nobody",
    "--regid=nogroup",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
  ];
  const seen = await run("/usr/bin/setpriv", [...asNobody, process.execPath, program, "services", ...flags]);
  assert.equal(seen.status, 0, seen.err);
  assert.match(seen.out, new RegExp(`^tcp +127\\.0\\.0\\.1:${wrapped} +\\? +\\? +- +loopback +\\? `, "m"));
  assert.match(
    seen.out,
    /^not seen: who owns \d+ of the sockets: the files of \d+ processes may not be seen; ask as root$/m,
  );
});
