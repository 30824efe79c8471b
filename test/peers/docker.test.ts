/** The image of the Dockerfile is built here and run: small, without a shell or a policy, read-only, as nobody in particular. */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { parseAllDocuments } from "yaml";
import { Compose } from "../support/compose.ts";
import { top } from "../support/debian.ts";
import { Images, type Said } from "../support/images.ts";
import { ask, open, startBackend, talk } from "../support/peers.ts";
import { scratchFolder } from "../support/scratch.ts";

const image = "localhost/tcpwrapd:test";

/** As an orchestrator that trusts nobody starts it; the host's network, because any other would change this machine. */
// prettier-ignore
const strict = [
  "--network", "host", "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/run/tcpwrapd",
  "--cap-drop", "all", "--security-opt", "no-new-privileges",
];

/** Megabytes that the image may have: Node's binary alone has 120. */
const maxMegabytes = 180;

let images: Images;

before(() => {
  images = new Images();
  images.makeNodeImage(24);
  images.build(image, top);
});
after(() => images.clean());

/** A port of 127.0.0.1 that nobody has; the container is told it, because what it finds by itself we would not know. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A running container; `said` is what it has written. */
class Container {
  readonly name: string;

  constructor(t: TestContext, args: readonly string[], command: readonly string[] = []) {
    this.name = images.mustPodman("run", "--detach", ...strict, ...args, image, ...command);
    t.after(() => images.podman("rm", "--force", "--time", "1", this.name));
  }

  said(): string {
    const { stdout, stderr } = images.podman("logs", this.name);
    return `${stdout}${stderr}`;
  }

  /** Runs the health check of the image. */
  mustBeHealthy(): void {
    const { status, stdout } = images.podman("healthcheck", "run", this.name);
    const log = images.podman("inspect", "--format", "{{json .State.Health}}", this.name).stdout;
    assert.equal(status, 0, `${stdout}${log}${this.said()}`);
  }

  async until(what: RegExp): Promise<string> {
    for (let tries = 0; tries < 150; tries++) {
      const text = this.said();
      if (what.test(text)) return text;
      await wait(100);
    }
    throw new Error(`not said within 15 s: ${String(what)}\n${this.said()}`);
  }
}

/** A folder as the kubelet makes it for a ConfigMap: every file is a link into ..data, which is a link to a folder with a date. */
class ConfigMapFolder {
  readonly path: string;
  #count = 0;

  constructor(path: string, data: Readonly<Record<string, string>>) {
    this.path = path;
    this.swap(data);
    for (const name of Object.keys(data)) symlinkSync(join("..data", name), join(path, name));
  }

  /** The new files in a new folder, and the link to it renamed over the old link. */
  swap(data: Readonly<Record<string, string>>): void {
    this.#count += 1;
    const folder = mkdtempSync(join(this.path, `..2026_11_22_${this.#count}.`));
    chmodSync(folder, 0o755);
    for (const [name, text] of Object.entries(data)) writeFileSync(join(folder, name), text);
    symlinkSync(basename(folder), join(this.path, "..data_tmp"));
    renameSync(join(this.path, "..data_tmp"), join(this.path, "..data"));
  }
}

/** Runs the image to its end. */
function run(args: readonly string[], command: readonly string[]): Said {
  return images.podman("run", "--rm", "--no-healthcheck", ...strict, ...args, image, ...command);
}

test("the image runs as a user of its own, has a health check and no shell, and is small", () => {
  const [description] = JSON.parse(images.mustPodman("inspect", image)) as {
    Size: number;
    Config: { User: string; Env: string[]; Entrypoint: string[]; Cmd: string[]; StopSignal: string };
    Healthcheck?: { Test: string[] };
  }[];
  assert.ok(description !== undefined);
  assert.equal(description.Config.User, "65532:65532");
  assert.deepEqual(description.Config.Cmd, ["run"]);
  assert.deepEqual(description.Healthcheck?.Test, ["CMD", ...description.Config.Entrypoint, "status"]);
  assert.deepEqual(
    description.Config.Env.filter((each) => /ALLOW|DENY|SERVICES/.test(each)),
    [],
    "no policy in the image",
  );
  const megabytes = Math.round(description.Size / 1e6);
  console.log(`image: ${megabytes} MB`);
  assert.ok(megabytes <= maxMegabytes, `${megabytes} MB`);
  const shell = images.podman(
    "run",
    "--rm",
    "--no-healthcheck",
    ...strict,
    "--entrypoint",
    "/bin/sh",
    image,
    "-c",
    "true",
  );
  assert.notEqual(shell.status, 0);
  assert.match(shell.stderr, /no such file/i);
});

test("without tables the image refuses to start and says why; --open is the way around", async (t) => {
  const port = await freePort();
  const backend = await startBackend(t);
  const service = ["--service", `echo=127.0.0.1:${port},${backend.address}`];
  const refused = run([], ["run", ...service]);
  assert.equal(refused.status, 78);
  assert.match(refused.stderr, /\/etc\/hosts[.]allow.* error no-tables: .*--open/);
  const container = new Container(t, ["--no-healthcheck"], ["run", "--open", ...service]);
  await container.until(/ready/);
  assert.deepEqual(await talk(port, { say: "hello" }), { text: "hello", end: "end" });
});

test("J10: process 1, any user, a read-only root and no capability: decides, records, and drains at SIGTERM", async (t) => {
  const port = await freePort();
  const backend = await startBackend(t);
  // prettier-ignore
  const container = new Container(t, [
    "--user", "1000770000:0",
    "--env", `TCPWRAPD_SERVICES=echo=127.0.0.1:${port},${backend.address}`,
    "--env", "TCPWRAPD_ALLOW=echo: 127.0.0.1", "--env", "TCPWRAPD_DENY=ALL: ALL",
    "--env", "TCPWRAPD_LOG_FORMAT=json",
  ]);
  await container.until(/"event":"ready"/);
  container.mustBeHealthy();
  assert.deepEqual(await talk(port, { say: "hello" }), { text: "hello", end: "end" });
  assert.equal((await talk(port, { from: "127.0.0.66" })).end, "ECONNRESET");
  assert.equal(backend.connections, 1);
  await container.until(/"event":"refuse"/);
  images.mustPodman("stop", "--time", "10", container.name);
  const [state] = JSON.parse(
    images.mustPodman("inspect", "--format", "[{{json .State}}]", container.name),
  ) as {
    ExitCode: number;
  }[];
  assert.equal(state?.ExitCode, 0);
  await container.until(/"event":"stopped"/);
});

test("G3: the ..data swap of a ConfigMap counts for the next connection, and an open session goes on", async (t) => {
  const [manifest] = parseAllDocuments(
    readFileSync(join(top, "config/examples/kubernetes/sidecar.yaml"), "utf8"),
  );
  const example = (manifest as { toJS(): { data: Record<string, string> } }).toJS().data;
  const port = await freePort();
  const backend = await startBackend(t);
  // The example itself, with the addresses of this test in place of those of a cluster.
  const configuration = (example["tcpwrapd.yaml"] ?? "")
    .replace("[::]:3306", `127.0.0.1:${port}`)
    .replace("127.0.0.1:3307", backend.address);
  const tables = (allow: string) => ({ ...example, "tcpwrapd.yaml": configuration, "hosts.allow": allow });
  const folder = new ConfigMapFolder(scratchFolder(t), tables("mysqld : 127.0.0.1\n"));
  const container = new Container(t, ["--volume", `${folder.path}:/etc/tcpwrapd:ro`]);
  await container.until(/"event":"ready"/);
  container.mustBeHealthy();
  const session = await open(t, port);
  assert.equal(await ask(session, "before"), "before");
  assert.equal((await talk(port, { from: "127.0.0.66" })).end, "ECONNRESET");

  folder.swap(tables("mysqld : 127.0.0.66\n"));

  assert.equal((await talk(port)).end, "ECONNRESET");
  assert.deepEqual(await talk(port, { say: "hello", from: "127.0.0.66" }), { text: "hello", end: "end" });
  assert.equal(await ask(session, "after"), "after");
});

test("the compose example: the database is reached through tcpwrapd only, by those whom the tables name", async (t) => {
  images.tag(image, "localhost/tcpwrapd:latest");
  images.tag("docker.io/library/node:24-bookworm-slim", "docker.io/library/mysql:8.4");
  const compose = new Compose(t, images, join(top, "config/examples/compose"), database);
  writeFileSync(join(compose.folder, "mysql-root.txt"), "secret\n");
  compose.up();
  const query = ["mariadb", "--no-defaults", "--skip-ssl", "--protocol=tcp", "-uroot", "-h127.0.0.1"];
  let answer = compose.inside(...query, "-Ne", "select 'in'");
  for (let tries = 0; tries < 100 && answer.status !== 0; tries++) {
    await wait(300);
    answer = compose.inside(...query, "-Ne", "select 'in'");
  }
  const log = compose.logs("tcpwrapd");
  assert.equal(answer.stdout, "in\n", `${answer.stderr}${log}${compose.logs("mysql")}`);
  assert.match(
    compose.logs("tcpwrapd"),
    /mysqld\[\d+\]: connect from (?:localhost|\S*127\.0\.0\.1) \(\S*127\.0\.0\.1\)/,
  );
  const stranger = compose.inside(process.execPath, "-e", knock, compose.stranger);
  assert.equal(stranger.stdout, "ECONNRESET\n", stranger.stderr);
  assert.match(compose.logs("tcpwrapd"), /refused connect from .*198\.51\.100\.7/);
  const listening = compose.inside("ss", "-Hltn").stdout.trim().split("\n");
  assert.deepEqual(
    listening.map((line) => line.split(/\s+/)[3]),
    ["*:3306"],
  );
  const status = compose.exec("tcpwrapd", "/usr/local/bin/node", "/usr/lib/tcpwrapd/dist/main.js", "status");
  assert.equal(status.status, 0, `the health check: ${status.stderr}`);
});

/** The MariaDB of this machine, in place of an image that would have to be pulled. */
const database = `services:
  mysql:
    command:
      - sh
      - -c
      - >-
        mariadb-install-db --no-defaults --user=root --datadir=/var/lib/mysql
        --auth-root-authentication-method=normal >/dev/null 2>&1 &&
        exec /usr/sbin/mariadbd --no-defaults --user=root --socket=/var/run/mysqld/mysqld.sock
    volumes: ["/usr:/usr:ro", "/etc/alternatives:/etc/alternatives:ro", "/etc/passwd:/etc/passwd:ro"]
`;

/** A client of an address that no table names, to that same address; prints what it came to. */
const knock = `const [host] = process.argv.slice(1);
require("net").connect({ host, port: 3306, localAddress: host })
  .on("data", () => console.log("data")).on("end", () => console.log("end")).on("error", ({ code }) => console.log(code));`;
