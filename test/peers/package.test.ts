/** The packages install, run, and go away again: Debian's on a machine with a real systemd, npm's by npm. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { buildPackage, installPackages, standInForNode, top } from "../support/debian.ts";
import { Machine } from "../support/machine.ts";
import { scratchFolder } from "../support/scratch.ts";

const { version } = JSON.parse(readFileSync(join(top, "package.json"), "utf8")) as { version: string };

test("the Debian package installs, runs and is purged on a booted machine", async (t) => {
  const folder = scratchFolder(t);
  const deb = buildPackage(folder);
  standInForNode(folder);
  const machine = await Machine.boot({ binds: [`${folder}:/opt/packages`] });
  t.after(() => machine.stop());
  installPackages(machine);
  // Files as they are in the package: nobody but root may change what root runs.
  const files = machine.must("dpkg", "-L", "tcpwrapd").trim().split("\n");
  const writable = machine.must(
    "find",
    ...files,
    "-maxdepth",
    "0",
    "-not",
    "-type",
    "l",
    "(",
    "-perm",
    "/022",
    "-o",
    "-not",
    "-user",
    "root",
    ")",
  );
  assert.equal(writable, "");
  assert.equal(machine.must("dpkg", "--verify", "tcpwrapd"), "");

  await t.test("building it once more gives the same bytes", () => {
    assert.deepEqual(readFileSync(buildPackage(scratchFolder(t))), readFileSync(deb));
  });
  await t.test("the command is on the path and knows its version", () => {
    assert.equal(machine.must("tcpwrapd", "--version"), `${version}\n`);
  });
  await t.test("rules are answered by the installed program", () => {
    const said = machine.run(
      "sh",
      "-c",
      "echo 'sshd: 192.0.2.' >/etc/hosts.allow; echo 'ALL: ALL' >/etc/hosts.deny; tcpwrapd match sshd 192.0.2.7",
    );
    assert.equal(said.stderr, "");
    assert.match(said.stdout, /^access: +granted$/m);
  });
  await t.test("it has a user of its own, without a shell or a home", () => {
    assert.match(
      machine.must("getent", "passwd", "tcpwrapd"),
      /^tcpwrapd:[^:]*:\d+:\d+:TCP proxy:\/:\/usr\/sbin\/nologin$/m,
    );
  });
  await t.test("nothing is started, and nothing is enabled", () => {
    assert.equal(machine.property("tcpwrapd.service", "ActiveState"), "inactive");
    assert.equal(machine.run("systemctl", "is-enabled", "tcpwrapd.service").stdout, "disabled\n");
  });
  await t.test("the manual pages are found", () => {
    assert.match(machine.must("man", "-w", "8", "tcpwrapd"), /man8\/tcpwrapd[.]8[.]gz/);
    assert.match(machine.must("man", "-w", "5", "tcpwrapd.yaml"), /man5\/tcpwrapd[.]yaml[.]5[.]gz/);
  });
  await t.test("a configuration that was changed stays through an upgrade", () => {
    machine.must("sh", "-c", "echo '# mine' >>/etc/tcpwrapd/tcpwrapd.yaml");
    machine.must("sh", "-c", `dpkg -i /opt/packages/${deb.slice(deb.lastIndexOf("/") + 1)} 2>&1`);
    assert.match(machine.must("cat", "/etc/tcpwrapd/tcpwrapd.yaml"), /^# mine$/m);
  });
  await t.test("a purge leaves nothing but the user", () => {
    machine.must("dpkg", "--purge", "tcpwrapd");
    const places = ["/etc", "/usr/bin", "/usr/lib", "/usr/share", "/run"];
    const left = machine.must("find", ...places, "-xdev", "-maxdepth", "4", "-name", "*tcpwrapd*");
    assert.equal(left, "");
  });
});

test("npm pack makes a package that installs globally and runs", (t) => {
  const folder = scratchFolder(t);
  const npm = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync("npm", args, {
      encoding: "utf8",
      cwd: top,
      timeout: 180_000,
    });
    assert.equal(status, 0, stderr);
    return stdout;
  };
  npm("pack", "--silent", "--pack-destination", folder);
  const [archive = ""] = readdirSync(folder);
  assert.equal(archive, `tcpwrapd-${version}.tgz`);
  const prefix = join(folder, "prefix");
  npm(
    "install",
    "--global",
    "--prefix",
    prefix,
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
    join(folder, archive),
  );
  const run = (...args: string[]) =>
    spawnSync(join(prefix, "bin/tcpwrapd"), args, { encoding: "utf8", cwd: folder });
  assert.deepEqual(
    { status: run("--version").status, stdout: run("--version").stdout },
    { status: 0, stdout: `${version}\n` },
  );
  const tables = join(prefix, "lib/node_modules/tcpwrapd/config/demo");
  const match = run(
    "match",
    "-c",
    "/dev/null",
    "--allow-file",
    join(tables, "hosts.allow"),
    "--deny-file",
    join(tables, "hosts.deny"),
    "sshd",
    "203.0.113.5",
  );
  assert.equal(match.stderr, "");
  assert.match(match.stdout, /^access: +(granted|denied)$/m);
  for (const page of ["man8/tcpwrapd.8", "man5/tcpwrapd.yaml.5"]) {
    assert.ok(existsSync(join(prefix, "share/man", page)), page);
  }
  // What is for building and testing stays at home.
  const shipped = readdirSync(join(prefix, "lib/node_modules/tcpwrapd")).filter(
    (each) => each !== "node_modules",
  );
  assert.deepEqual(
    shipped.filter((each) => ["src", "test", ".ci", "tsconfig.json"].includes(each)),
    [],
  );
});

for (const page of ["docs/man/tcpwrapd.8", "docs/man/tcpwrapd.yaml.5"]) {
  test(`${page} is set by groff without a warning`, () => {
    const set = spawnSync("groff", ["-man", "-Tascii", "-ww", "-z", join(top, page)], { encoding: "utf8" });
    assert.deepEqual({ status: set.status, stderr: set.stderr }, { status: 0, stderr: "" });
  });
}
