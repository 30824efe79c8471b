/** `tcpwrapd check`: the form of its lines, its exit statuses, and what only the machine can tell. */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { CODES } from "../../src/access/codes.ts";
import { CHECK_CODES } from "../../src/cli/check-codes.ts";
import { runCommand } from "../support/cli.ts";
import { startDns } from "../support/dns-server.ts";
import { scratchFolder } from "../support/scratch.ts";

interface Files {
  readonly allow?: string;
  readonly deny?: string;
  readonly yaml?: string;
}

interface Checked {
  readonly status: number;
  readonly errors: string;
  /** The lines, the folder left out. */
  readonly lines: string[];
  readonly folder: string;
}

async function check(t: TestContext, files: Files, ...flags: string[]): Promise<Checked> {
  const folder = scratchFolder(t);
  const paths = {
    allow: join(folder, "hosts.allow"),
    deny: join(folder, "hosts.deny"),
    yaml: join(folder, "t.yaml"),
  };
  for (const key of ["allow", "deny", "yaml"] as const) {
    const text = files[key];
    if (text !== undefined) writeFileSync(paths[key], text.replaceAll("FOLDER", folder));
  }
  const config = files.yaml === undefined ? "/dev/null" : paths.yaml;
  const args = ["check", "-c", config, "--allow-file", paths.allow, "--deny-file", paths.deny, ...flags];
  const { status, output, errors } = await runCommand(args);
  return { status, errors, lines: output.replaceAll(`${folder}/`, "").trimEnd().split("\n"), folder };
}

const clean = { allow: "sshd: 192.0.2.\n", deny: "ALL: ALL\n" };
const form = /^[^:]+:\d+:\d+: (error|warning) ([a-z0-9-]+): [^\n]+$/;

test("check ends with 0 and one line where there is nothing to say", async (t) => {
  const { status, lines, errors } = await check(t, clean);
  assert.deepEqual(
    { status, lines, errors },
    {
      status: 0,
      lines: ["nothing to say (1 rule in hosts.allow, 1 rule in hosts.deny, no service configured)"],
      errors: "",
    },
  );
});

test("check prints FILE:LINE:COL: severity code: message; hint, and a summary; warnings alone end with 1", async (t) => {
  const { status, lines } = await check(t, { ...clean, allow: "# ours\nsshd: 192.0.2.10/24\n" });
  assert.deepEqual(lines, [
    'hosts.allow:2:7: warning host-bits-set: "192.0.2.10/24" has bits set below the mask; write "192.0.2.0/24"',
    "0 errors, 1 warning (1 rule in hosts.allow, 1 rule in hosts.deny, no service configured)",
  ]);
  assert.equal(status, 1);
});

test("check ends with 2 for an error, and says what was meant", async (t) => {
  const { status, lines } = await check(t, {
    ...clean,
    allow: "sshd: 192.0.2. : alow\nsshd: ALL: /bin/mail root\n",
  });
  assert.deepEqual(lines.slice(0, 2), [
    'hosts.allow:1:18: error unknown-option: bad option name: "alow"; did you mean "allow"?',
    'hosts.allow:2:12: error unknown-option: bad option name: "/bin/mail"; write "spawn /bin/mail ..."',
  ]);
  assert.equal(status, 2);
});

test("check --strict: warnings count as errors", async (t) => {
  assert.equal((await check(t, { ...clean, deny: "ALL: ALL" }, "--strict")).status, 2);
  assert.equal((await check(t, clean, "--strict")).status, 0);
});

test("check --json prints one object with everything that the lines have", async (t) => {
  const { status, lines, folder } = await check(t, { ...clean, deny: "ALL: ALL" }, "--json");
  assert.equal(lines.length, 1);
  const { errors, warnings, tables, services, diagnostics } = JSON.parse(lines[0] ?? "") as Record<
    string,
    unknown
  >;
  assert.deepEqual(
    { errors, warnings, tables, services, status },
    {
      errors: 0,
      warnings: 1,
      tables: [
        { file: "hosts.allow", rules: 1 },
        { file: "hosts.deny", rules: 1 },
      ],
      services: [],
      status: 1,
    },
  );
  assert.deepEqual(diagnostics, [
    {
      file: "hosts.deny",
      line: 1,
      column: 9,
      severity: "warning",
      code: "missing-newline",
      message: "the last line has no newline; it is taken as a line like any other",
      hint: "end the file with a newline: tcpd ignores this line, and in hosts.deny refuses everyone it reaches",
    },
  ]);
  assert.ok(folder !== "");
});

const sshd = 'services:\n  sshd:\n    listen: ["127.0.0.1:2022"]\n    backend: 127.0.0.1:2222\n';

/** Where there is no network, loopback has to do. */
const ownAddress =
  Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1";

const rows: [what: string, files: Files, lines: RegExp[], status: number][] = [
  [
    "a configuration with a misspelt key",
    { ...clean, yaml: "acess: {}\n" },
    [/^t\.yaml:1:1: error unknown-key: .*; did you mean "access"\?$/, /^1 error, 0 warnings/],
    2,
  ],
  ["a configuration that is no YAML", { ...clean, yaml: "a: [\n" }, [/^t\.yaml:2:1: error yaml-syntax: /], 2],
  [
    "a broken configuration, and the tables that flags name all the same",
    { allow: "sshd ALL\n", deny: "ALL: ALL\n", yaml: "x: 1\n" },
    [/error unknown-key/, /^hosts\.allow:1:1: warning missing-colon: /],
    2,
  ],
  [
    "a table that is not there",
    { deny: "ALL: ALL\n", yaml: sshd },
    [
      /^hosts\.allow:1:1: warning table-missing: .*counts as an empty table$/,
      /^hosts\.deny:1:1: warning nobody-allowed: "sshd": every client is refused/,
    ],
    1,
  ],
  [
    "a daemon that no service has",
    { ...clean, allow: "ssshd: 10.0.0.1\nsshd: 10.0.0.1\n", yaml: sshd },
    [/^hosts\.allow:1:1: warning unknown-daemon: .*; did you mean "sshd"\?$/],
    1,
  ],
  [
    "H10: a backend that is our own listener",
    { ...clean, yaml: sshd.replace("2022", "2222") },
    [
      /^t\.yaml:4:14: error backend-is-listener: the backend "127\.0\.0\.1:2222" is where "sshd" listens itself; /,
    ],
    2,
  ],
  [
    "H10: so too by any address",
    { ...clean, yaml: sshd.replace("127.0.0.1:2022", "[::]:2222") },
    [/error backend-is-listener/],
    2,
  ],
  [
    "H10: so too by an address of this machine, where we listen on all",
    {
      ...clean,
      yaml: sshd.replace("127.0.0.1:2022", "0.0.0.0:2222").replace("127.0.0.1:2222", `${ownAddress}:2222`),
    },
    [/error backend-is-listener/],
    2,
  ],
  [
    "H10: two services that lead to each other",
    {
      ...clean,
      yaml: `${sshd.replace("127.0.0.1:2022", "0.0.0.0:2022")}  other:\n    listen: ["0.0.0.0:2222"]\n    backend: ${ownAddress}:2022\n`,
    },
    [
      /^t\.yaml:4:14: error backend-is-listener: .* is where "other" listens itself; /,
      /^t\.yaml:7:14: error backend-is-listener: .* is where "sshd" listens itself; /,
    ],
    2,
  ],
  [
    "two services at one place",
    { ...clean, yaml: `${sshd}  other:\n    listen: ["127.0.0.1:2022"]\n    backend: 127.0.0.1:1\n` },
    [/^t\.yaml:6:14: error listen-twice: "other" and "sshd" both listen on "127\.0\.0\.1:2022"$/],
    2,
  ],
  [
    "H6: a unix socket that is not there",
    { ...clean, yaml: sshd.replace("127.0.0.1:2222", "unix:FOLDER/none") },
    [/^t\.yaml:4:14: warning backend-missing: there is no socket at "none"/],
    1,
  ],
  [
    "a program that is not there",
    { ...clean, yaml: sshd.replace("backend: 127.0.0.1:2222", "exec: [FOLDER/none]") },
    [/^t\.yaml:4:11: error program-missing: "none" cannot be executed$/],
    2,
  ],
  [
    "C5: a PROXY header for sshd",
    { ...clean, yaml: `${sshd}    proxyProtocol: {send: v2}\n` },
    [/^t\.yaml:5:27: warning sshd-no-proxy: /],
    1,
  ],
  [
    "twist for clients who come behind PROXY headers",
    {
      allow: "ALL: 192.0.2.\n",
      deny: "vsftpd: 10. : twist /bin/echo no\nALL EXCEPT vsftpd: 10. : twist /bin/echo no\nALL: ALL\n",
      yaml: `${sshd.replace("backend", "proxyProtocol: {acceptFrom: [10.0.0.0/8]}\n    backend")}  vsftpd:\n    listen: ["127.0.0.1:2021"]\n    backend: 127.0.0.1:2121\n`,
    },
    [
      /^hosts\.deny:2:1: warning twist-behind-proxy: twist for "sshd", whose clients come behind PROXY headers: .*; write deny/,
      /^0 errors, 1 warning/,
    ],
    1,
  ],
  [
    "banners that are not there",
    { ...clean, allow: "sshd: 10. : banners FOLDER/none\n" },
    [/^hosts\.allow:1:1: warning banners-missing: there is no directory "none"$/],
    1,
  ],
  [
    "a command that is not there",
    { ...clean, allow: "sshd: 10. : spawn (FOLDER/none %h) & : allow\n" },
    [/^hosts\.allow:1:1: warning command-missing: "none" cannot be executed$/],
    1,
  ],
  [
    "an ident server that is waited for as long as the whole decision may take",
    {
      ...clean,
      allow: "sshd: 10. : rfc931 14\n2022: 192.0.2. : RFC931 = 15\nsshd: 198.51.100. : rfc931 : rfc931 20\n",
      yaml: sshd,
    },
    [
      /^hosts\.allow:2:1: warning ident-outlasts-decision: rfc931 waits 15 s, and "sshd" gives the whole decision 15 s; /,
      /^0 errors, 1 warning/,
    ],
    1,
  ],
  [
    "a /file that is not there",
    { ...clean, allow: "sshd: FOLDER/none\n" },
    [/^hosts\.allow:1:7: warning list-missing: /],
    1,
  ],
  [
    "names that are never looked up",
    { ...clean, allow: "sshd: .example.org\n", yaml: `names: {reverse: never}\n${sshd}` },
    [/^hosts\.allow:1:7: warning names-never: /],
    1,
  ],
];
for (const [what, files, lines, status] of rows) {
  test(`${what} is found by check`, async (t) => {
    const found = await check(t, files);
    for (const [index, line] of lines.entries())
      assert.match(found.lines[index] ?? "", line, found.lines.join("\n"));
    for (const line of found.lines.slice(0, -1)) {
      const [, severity, code = ""] = form.exec(line) ?? [];
      const documented: Record<string, { severity: string }> = { ...CODES, ...CHECK_CODES };
      assert.equal(documented[code]?.severity, severity, line);
    }
    assert.equal(found.status, status, found.lines.join("\n"));
    assert.equal(found.errors, "");
  });
}

test("L2: check finds tables, lists, folders and configurations that others may write to", async (t) => {
  const { folder } = await check(t, { ...clean, allow: "sshd: FOLDER/open/list\n" });
  mkdirSync(join(folder, "open"));
  writeFileSync(join(folder, "open/list"), "10.0.0.1\n");
  chmodSync(join(folder, "open"), 0o777);
  chmodSync(join(folder, "hosts.deny"), 0o666);
  const flags = ["--allow-file", join(folder, "hosts.allow"), "--deny-file", join(folder, "hosts.deny")];
  const { output, status } = await runCommand(["check", "-c", "/dev/null", ...flags]);
  const lines = output.replaceAll(folder, "").split("\n");
  assert.match(lines[0] ?? "", /^\/hosts\.deny:1:1: warning world-writable: .*; chmod o-w \/hosts\.deny$/);
  assert.match(lines[1] ?? "", /^\/open\/list:1:1: warning world-writable: "\/open" is world-writable/);
  assert.equal(status, 1);
  writeFileSync(join(folder, "t.yaml"), "");
  chmodSync(join(folder, "t.yaml"), 0o664);
  const whole = await runCommand(["check", "-c", join(folder, "t.yaml"), ...flags]);
  assert.match(
    whole.output,
    /t\.yaml:1:1: warning group-writable: .* in the group with the number \d+ can .*; chmod g-w /,
  );
  chmodSync(join(folder, "open"), 0o1777);
  assert.ok(!(await runCommand(["check", "-c", "/dev/null", ...flags])).output.includes("/open"));
});

test("check finds a table that is a directory", async (t) => {
  const folder = scratchFolder(t);
  writeFileSync(join(folder, "a"), "sshd: 10.\n");
  const { output } = await runCommand([
    "check",
    "-c",
    "/dev/null",
    "--allow-file",
    join(folder, "a"),
    "--deny-file",
    folder,
  ]);
  assert.match(output, /warning table-is-directory: /);
  assert.match(output, /warning open-by-default: "sshd": a client that no rule names is let in/);
});

test("check --resolve asks DNS whether names lead to an address and back; without it nobody is asked", async (t) => {
  const dns = await startDns(({ name, type }) => {
    const records: Record<string, string> = {
      "good.test A": "192.0.2.1",
      "other.test A": "192.0.2.2",
      "1.2.0.192.in-addr.arpa PTR": "good.test",
      "2.2.0.192.in-addr.arpa PTR": "good2.test",
      "good2.test A": "192.0.2.2",
    };
    const data = records[`${name} ${type}`];
    return data === undefined ? { rcode: 3 } : ({ records: [{ type, data }] } as never);
  });
  t.after(() => dns.close());
  const files = {
    ...clean,
    allow: "sshd: good.test\nsshd: other.test none.test\n",
    yaml: `names: {servers: ["${dns.address}"], hostsFile: /dev/null}\n`,
  };
  const { lines, status } = await check(t, files, "--resolve");
  assert.deepEqual(lines.slice(0, -1).sort(), [
    'hosts.allow:2:1: warning name-not-confirmed: "other.test" has the address 192.0.2.2, whose name is "good2.test": the rule does not match it; write "192.0.2.2", or names: {forward: true}',
    'hosts.allow:2:1: warning unresolved-name: "none.test" has no address (ENOTFOUND)',
  ]);
  assert.equal(status, 1);
  assert.equal((await check(t, files)).status, 0);
});

test("C6: check says what source: client lacks, with the line to type", async (t) => {
  const yaml = `${sshd.replace("2222", "59999")}    source: client\n`;
  const { lines, status } = await check(t, { ...clean, yaml });
  const said = lines.join("\n");
  assert.match(said, /^t\.yaml:5:13: (error|warning) source-(rule|package|capability|unverified): .*59999/m);
  assert.match(said, /; ip -4 (rule add ipproto tcp sport 59999 lookup \S+|route get .*)$/m);
  assert.ok(status > 0);
});

test("check writes control characters of a table as text", async (t) => {
  const { lines } = await check(t, { ...clean, allow: "sshd: \u001b[2Jx\u0007\n" });
  assert.ok(lines.every((line) => !/[\u0000-\u001f]/.test(line)));
});

test("check has an example for each thing that it is for, and refuses what it does not know", async () => {
  const { output } = await runCommand(["check", "--help"]);
  assert.match(output, /check --json/);
  assert.equal((await runCommand(["check", "--nonsense"])).status, 64);
});

test("the configurations and tables that we ship have no errors", async () => {
  const folder = new URL("../../config/", import.meta.url).pathname;
  for (const name of ["sshd", "mysql"]) {
    const at = join(folder, "examples", name);
    const flags = ["--allow-file", join(at, "hosts.allow"), "--deny-file", join(at, "hosts.deny")];
    const { output } = await runCommand(["check", "-c", join(at, "tcpwrapd.yaml"), ...flags]);
    assert.ok(!output.includes(": error "), output);
    assert.ok(readFileSync(join(at, "hosts.deny"), "utf8") !== "");
  }
});
