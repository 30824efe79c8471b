/** Container images built and run without an engine and without pulling any: buildah and podman with a store of their own. */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What a command came to. */
export interface Said {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The packages of this machine whose files make the stand-in for Debian's image. */
const basePackages =
  "base-files bash dash coreutils sed grep findutils libc-bin libc6 ca-certificates libgcc-s1 libstdc++6 libatomic1 " +
  "libselinux1 libpcre2-8-0 libacl1 libattr1 libgmp10 libtinfo6 libssl3 openssl";

/** A store of images and what runs from them; `clean` removes both. */
export class Images {
  readonly #folder: string;
  readonly #environment: NodeJS.ProcessEnv;

  constructor() {
    if (process.getuid?.() !== 0) throw new Error("building images here needs root");
    this.#folder = mkdtempSync(join(tmpdir(), "tcpwrapd-images-"));
    const [containers, storage] = [join(this.#folder, "containers.conf"), join(this.#folder, "storage.conf")];
    writeFileSync(containers, containersConf(this.#folder));
    writeFileSync(
      storage,
      `[storage]\ndriver = "overlay"\ngraphroot = "${this.#folder}/store"\nrunroot = "${this.#folder}/run"\n`,
    );
    this.#environment = {
      ...process.env,
      CONTAINERS_CONF: containers,
      CONTAINERS_STORAGE_CONF: storage,
      BUILDAH_ISOLATION: "chroot",
    };
  }

  /**
   * Makes a stand-in for docker.io/library/node:MAJOR-bookworm-slim: files of packages that are installed here, Node of that
   * major version from the npm registry, and the npm of this machine.
   */
  makeNodeImage(major: number): void {
    const root = join(this.#folder, "base");
    const local = join(root, "usr/local");
    for (const each of [
      "usr/bin",
      "usr/sbin",
      "usr/lib",
      "usr/lib64",
      "tmp",
      "root",
      "usr/local/bin",
      "usr/local/etc",
    ]) {
      mkdirSync(join(root, each), { recursive: true });
    }
    for (const each of ["bin", "sbin", "lib", "lib64"]) symlinkSync(`usr/${each}`, join(root, each));
    must("sh", [
      "-c",
      `dpkg -L ${basePackages} | grep -vE '/(man|doc|locale|info|lintian)(/|$)' | sort -u |
      tar -C / --no-recursion -cf - -T - 2>/dev/null | tar -C '${root}' -xf - --keep-directory-symlink`,
    ]);
    cpSync("/etc/ssl/certs", join(root, "etc/ssl/certs"), { recursive: true, dereference: true });
    if (!existsSync(join(root, "usr/bin/sh"))) symlinkSync("dash", join(root, "usr/bin/sh"));
    const archive = must("npm", [
      "pack",
      "--silent",
      "--pack-destination",
      this.#folder,
      `node-linux-${process.arch}@${major}`,
    ]);
    must("tar", [
      "-xzf",
      join(this.#folder, archive.trim()),
      "-C",
      local,
      "--strip-components=1",
      "package/bin/node",
    ]);
    const npm = join(must("npm", ["root", "--global"]).trim(), "npm");
    cpSync(npm, join(local, "lib/node_modules/npm"), { recursive: true });
    symlinkSync("../lib/node_modules/npm/bin/npm-cli.js", join(local, "bin/npm"));
    writeFileSync(join(local, "etc/npmrc"), npmConfiguration(join(local, "etc")));
    const container = this.#must("buildah", ["from", "scratch"]).trim();
    this.#must("buildah", ["add", "--quiet", container, root, "/"]);
    this.#must("buildah", [
      "config",
      "--env",
      "PATH=/usr/local/bin:/usr/bin:/bin",
      "--cmd",
      "node",
      container,
    ]);
    this.#must("buildah", [
      "commit",
      "--quiet",
      "--rm",
      container,
      `docker.io/library/node:${major}-bookworm-slim`,
    ]);
    rmSync(root, { recursive: true });
  }

  /** Builds the Dockerfile of a folder; what it printed is in the error if that fails. */
  build(tag: string, context: string): void {
    // The format of Docker: that of OCI has no health check. Chroot: without an engine of its own there are no other walls.
    this.#must("buildah", ["bud", "--pull-never", "--format", "docker", "--layers", "--tag", tag, context]);
  }

  /** Gives an image another name. */
  tag(image: string, name: string): void {
    this.#must("buildah", ["tag", image, name]);
  }

  /** Runs a command that finds this store, as podman-compose does. */
  run(command: string, ...args: readonly string[]): Said {
    return this.#run(command, args);
  }

  /** Runs podman. Give a `run` the flag --network: the default network would change this machine. */
  podman(...args: readonly string[]): Said {
    return this.#run("podman", args);
  }

  /** As `podman`, and what it printed; anything but status 0 is an error. */
  mustPodman(...args: readonly string[]): string {
    return this.#must("podman", args).trim();
  }

  /** Ends every container of the store, and removes it. */
  clean(): void {
    this.#run("podman", ["rm", "--all", "--force", "--time", "1"]);
    this.#run("buildah", ["rm", "--all"]);
    for (const each of ["store/overlay", "store/overlay-containers"])
      spawnSync("umount", ["-l", join(this.#folder, each)]);
    for (const group of emptyGroups())
      spawnSync("find", [group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #run(command: string, args: readonly string[]): Said {
    const { status, stdout, stderr, error } = spawnSync(command, args, {
      encoding: "utf8",
      env: this.#environment,
      timeout: 240_000,
      maxBuffer: 64 * 1024 * 1024,
    });
    if (error !== undefined) throw error;
    return { status, stdout, stderr };
  }

  #must(command: string, args: readonly string[]): string {
    const { status, stdout, stderr } = this.#run(command, args);
    if (status !== 0) throw new Error(`${command} ${args.join(" ")}: status ${status}\n${stdout}${stderr}`);
    return stdout;
  }
}

/** runc, because crun does not know a tree of control groups that is old and new at once; limits that need no capability. */
const containersConf = (folder: string): string => `[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[network]
network_backend = "netavark"
network_config_dir = "${folder}/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
pull_policy = "never"
`;

/** Where this machine's npm gets its packages, and the authority that it trusts, for the npm in the image. */
function npmConfiguration(folder: string): string {
  const get = (key: string): string => must("npm", ["config", "get", key]).trim();
  const lines = [`registry=${get("registry")}`, "update-notifier=false", "fetch-retries=1"];
  const authority = get("cafile");
  if (existsSync(authority)) {
    writeFileSync(join(folder, "ca.pem"), readFileSync(authority));
    lines.push("cafile=/usr/local/etc/ca.pem");
  }
  return `${lines.join("\n")}\n`;
}

/** The groups that podman leaves behind. */
function emptyGroups(): string[] {
  return ["/sys/fs/cgroup", ...readdirSync("/sys/fs/cgroup").map((each) => join("/sys/fs/cgroup", each))]
    .map((each) => join(each, "libpod_parent"))
    .filter((each) => existsSync(each));
}

function must(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr}`);
  return stdout;
}
