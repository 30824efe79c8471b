/** A compose file that is really run: by podman-compose, in a network namespace that stands for the host. Needs root. */

import { spawnSync } from "node:child_process";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Images, Said } from "./images.ts";
import { scratchFolder } from "./scratch.ts";

/**
 * The podman-compose of Debian 12 puts a service with `network_mode: host` on the default network as well, which podman refuses; later
 * ones do not. So it gets a podman that leaves that out.
 */
const podman = `#!/bin/bash
if [[ " $* " == *" --network host "* ]]; then
  kept=()
  while [ $# -gt 0 ]; do
    case $1 in --net | --network-alias) shift ;; *) kept+=("$1") ;; esac
    shift
  done
  set -- "\${kept[@]}"
fi
exec podman "$@"
`;

/** What a compose file makes; taken down with the test. */
export class Compose {
  /** A copy of the folder of the compose file. */
  readonly folder: string;
  /** An address of the host that is not its loopback. */
  readonly stranger = "198.51.100.7";
  readonly #images: Images;
  readonly #name = `tcpwrapd${process.pid}`;

  /** @param more a second compose file, for what the first one does not say */
  constructor(t: TestContext, images: Images, folder: string, more: string) {
    this.#images = images;
    this.folder = scratchFolder(t);
    cpSync(folder, this.folder, { recursive: true });
    writeFileSync(join(this.folder, "more.yaml"), more);
    writeFileSync(join(this.folder, "podman"), podman, { mode: 0o755 });
    t.after(() => {
      this.#compose("down", "-t", "1");
      spawnSync("ip", ["netns", "del", this.#name]);
    });
    must(images.run("ip", "netns", "add", this.#name));
    must(this.inside("ip", "link", "set", "lo", "up"));
    must(this.inside("ip", "address", "add", `${this.stranger}/32`, "dev", "lo"));
  }

  /** Makes the containers and starts them. */
  up(): void {
    must(this.#compose("--podman-run-args=--no-healthcheck", "up", "-d"));
  }

  /** Runs a command on the host. */
  inside(...command: readonly string[]): Said {
    return this.#images.run("nsenter", `--net=/run/netns/${this.#name}`, ...command);
  }

  /** Runs a command in the container of a service. */
  exec(service: string, ...command: readonly string[]): Said {
    return this.#images.podman("exec", this.#container(service), ...command);
  }

  /** What a service has written. */
  logs(service: string): string {
    const { stdout, stderr } = this.#images.podman("logs", this.#container(service));
    return `${stdout}${stderr}`;
  }

  #container(service: string): string {
    return `${this.#name}_${service}_1`;
  }

  #compose(...args: readonly string[]): Said {
    const at = (name: string): string => join(this.folder, name);
    const files = ["-f", at("compose.yaml"), "-f", at("more.yaml")];
    return this.inside("podman-compose", "--podman-path", at("podman"), ...files, "-p", this.#name, ...args);
  }
}

function must({ status, stdout, stderr }: Said): void {
  // podman-compose goes on after an error, and ends well.
  if (status !== 0 || /exit code: [1-9]/.test(stdout + stderr)) throw new Error(`${stdout}${stderr}`);
}
