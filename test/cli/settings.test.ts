/** Which setting wins: flags over the environment, the environment over the file, the file over the defaults. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ConfigurationError, readSettings } from "../../src/cli/settings.ts";
import { scratchFolder } from "../support/scratch.ts";

test("settings: TCPWRAPD_SERVICES says services as --service does, several behind each other", async () => {
  const { settings } = await readSettings(
    { config: "/dev/null" },
    { TCPWRAPD_SERVICES: "sshd=127.0.0.1:22,127.0.0.1:2222;mysqld=[::]:3306,unix:/run/mysqld.sock;" },
  );
  assert.deepEqual(Object.keys(settings.services), ["sshd", "mysqld"]);
});

test("settings: one service named twice listens in two places", async () => {
  const service = ["sshd=127.0.0.1:22,127.0.0.1:2222", "sshd=[::1]:22,127.0.0.1:2222"];
  const { settings } = await readSettings({ config: "/dev/null", service }, {});
  assert.equal(settings.services["sshd"]?.listen.length, 2);
});

test("settings: a backend by a flag takes the place of a program in the file", async (t) => {
  const config = join(scratchFolder(t), "c.yaml");
  writeFileSync(
    config,
    'services: {sshd: {listen: ["127.0.0.1:22"], exec: ["/usr/sbin/sshd", "-i"], daemon: sshd2}}\n',
  );
  const { settings } = await readSettings({ config, service: ["sshd=127.0.0.1:23,127.0.0.1:2222"] }, {});
  const { exec, backend, daemon } = settings.services["sshd"] ?? {};
  assert.deepEqual([exec, backend?.length, daemon], [undefined, 1, "sshd2"]);
});

test("settings: tables may stand in the environment, unless a flag names a file", async () => {
  const environment = { TCPWRAPD_ALLOW: "sshd: ALL\n", TCPWRAPD_DENY: "ALL: ALL\n" };
  const { settings, inlineTables } = await readSettings({ config: "/dev/null", denyFile: "/x" }, environment);
  assert.deepEqual([settings.access.allow, settings.access.deny], ["TCPWRAPD_ALLOW", "/x"]);
  assert.deepEqual([...inlineTables], [["TCPWRAPD_ALLOW", "sshd: ALL\n"]]);
});

test("settings: the form of records is that of the flag, and the other logs of the file stay", async (t) => {
  const config = join(scratchFolder(t), "c.yaml");
  writeFileSync(config, "log: [{to: stdout, format: text}, {to: syslog, socket: /dev/log}]\n");
  const environment = { TCPWRAPD_LOG_FORMAT: "pretty" };
  const forms = async (flags: object) =>
    (await readSettings({ config, ...flags }, environment)).settings.log.map(
      ({ to, format }) => `${to} ${format}`,
    );
  assert.deepEqual(await forms({}), ["stdout pretty", "syslog rfc3164"]);
  assert.deepEqual(await forms({ logFormat: "json" }), ["stdout json", "syslog rfc3164"]);
});

test("settings: what is wrong in the environment is named by its variable", async () => {
  const rows: [environment: Record<string, string>, message: RegExp][] = [
    [{ TCPWRAPD_LOG_FORMAT: "xml" }, /^TCPWRAPD_LOG_FORMAT: error bad-value: "xml" .*json, text, pretty$/],
    [{ TCPWRAPD_SERVICES: "sshd" }, /^TCPWRAPD_SERVICES: error bad-service: "sshd"/],
    [{ TCPWRAPD_SERVICES: "__proto__=127.0.0.1:22,127.0.0.1:1" }, /: error bad-service: "__proto__=/],
    [{ TCPWRAPD_SERVICES: "sshd=127.0.0.1:22,nowhere" }, /^TCPWRAPD_SERVICES: error bad-value: .*"nowhere"/],
  ];
  for (const [environment, message] of rows) {
    await assert.rejects(readSettings({ config: "/dev/null" }, environment), (error) => {
      assert.ok(error instanceof ConfigurationError);
      assert.match(error.message, message);
      return true;
    });
  }
});
