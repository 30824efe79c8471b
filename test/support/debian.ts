/** The Debian package, built once for a test file, and what it needs to be installed where Node came some other way. */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Machine } from "./machine.ts";

/** The top of the repository. */
export const top = fileURLToPath(new URL("../../", import.meta.url));

/** Builds the package into `folder`; gives its path. */
export function buildPackage(folder: string): string {
  return must("bash", [join(top, "test/pack/deb.sh"), folder]).trim();
}

/** Installs every package of `folder`, which the machine sees as /opt/packages. */
export function installPackages(machine: Machine): string {
  return machine.must("sh", "-c", "dpkg -i /opt/packages/*.deb 2>&1");
}

/**
 * Where Node is not from a package that dpkg knows as new enough, an empty package says that it is there: the program on
 * the path is what the daemon is started with.
 */
export function standInForNode(folder: string): void {
  const installed = spawnSync("dpkg-query", ["-W", "-f", "${Version}", "nodejs"], {
    encoding: "utf8",
  }).stdout;
  const isThere =
    spawnSync("dpkg", ["--compare-versions", installed.trim() || "0", "ge", "20.19"]).status === 0;
  if (isThere) return;
  const root = join(folder, "nodejs");
  mkdirSync(join(root, "DEBIAN"), { recursive: true });
  const version = process.versions.node;
  writeFileSync(
    join(root, "DEBIAN/control"),
    `Package: nodejs\nVersion: ${version}\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: stand-in\n`,
  );
  must("dpkg-deb", ["--root-owner-group", "--build", root, join(folder, "nodejs.deb")]);
}

function must(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? `${stdout}${stderr}`}`);
  return stdout;
}
