/** The programs that the relay is compared with, each started on loopback with a backend behind it. */

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";

/** One way to the backend. */
export interface Peer {
  readonly name: string;
  readonly version: string;
  /** Where an allowed client connects. */
  readonly port: number;
  /** Where everybody is refused; absent where the program cannot refuse. */
  readonly refusedPort?: number;
  /** The process whose time and memory count, with its children; absent for "direct". */
  readonly pid?: number;
  /** It starts a process for each connection. */
  readonly forks: boolean;
  /** Idle sessions that its memory is measured with; absent: thousands. */
  readonly sessions?: number;
  /** It brings its own backend and can only echo. */
  readonly echoOnly: boolean;
}

export interface Lab {
  readonly folder: string;
  /** The load program. */
  readonly load: string;
  readonly backendPort: number;
  /** Node, and the built daemon. */
  readonly node: string;
  readonly main: string;
  /** Processors, as taskset(1) takes them, of the peers and of the load with its backend; undefined: all. */
  readonly peerProcessors: string | undefined;
  readonly loadProcessors: string | undefined;
  /** Everything started, to be ended. */
  readonly children: ChildProcess[];
}

type Starter = (lab: Lab) => Promise<Peer | undefined>;

/** Starters by name; undefined where the program is not installed. */
export const starters: Readonly<Record<string, Starter>> = {
  direct: (lab) =>
    Promise.resolve({ name: "direct", version: "", port: lab.backendPort, forks: false, echoOnly: false }),
  haproxy: (lab) => startHaproxy(lab, false),
  "haproxy+log": (lab) => startHaproxy(lab, true),
  nginx: startNginx,
  xinetd: startXinetd,
  rinetd: startRinetd,
  socat: startSocat,
  "tcpserver+tcpd": startTcpserver,
  tcpwrapd: (lab) => startTcpwrapd(lab, "tcpwrapd", 10),
  "tcpwrapd-100k": (lab) => startTcpwrapd(lab, "tcpwrapd-100k", 100_000),
};

/** A port of 127.0.0.1 that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a program and waits until somebody accepts on the port. */
export async function start(
  lab: Lab,
  as: "peer" | "load",
  file: string,
  args: readonly string[],
  port: number,
): Promise<number> {
  const processors = as === "peer" ? lab.peerProcessors : lab.loadProcessors;
  const pinned = processors === undefined ? [] : ["taskset", "-c", processors];
  const [program = "", ...rest] = [...pinned, file, ...args];
  const child = spawn(program, rest, { stdio: ["ignore", "pipe", "pipe"], cwd: lab.folder });
  lab.children.push(child);
  let said = "";
  const keep = (chunk: Buffer): void => void (said = (said + chunk.toString()).slice(-2000));
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  const untilMs = performance.now() + 20_000;
  while (!(await accepts(port))) {
    if (child.exitCode !== null || performance.now() > untilMs)
      throw new Error(`${file} does not answer: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return child.pid ?? 0;
}

async function accepts(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => resolve(false));
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}

/**
 * @param logs one line for each session, to a file, as tcpwrapd writes two; a client that is rejected before it is a session leaves
 *   no line, so it is rejected one step later
 */
async function startHaproxy(lab: Lab, logs: boolean): Promise<Peer | undefined> {
  const file = find("haproxy");
  if (file === undefined) return undefined;
  const [port, refusedPort] = [await freePort(), await freePort()];
  const name = logs ? "haproxy+log" : "haproxy";
  const config = join(lab.folder, `${name}.cfg`);
  writeFileSync(
    config,
    `global
  nbthread 1
  maxconn 4000
  ${logs ? "log stdout format raw local0" : ""}
defaults
  mode tcp
  ${logs ? "log global\n  option tcplog" : ""}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option splice-auto
  option splice-request
  option splice-response
frontend allowed
  bind 127.0.0.1:${port} backlog 4096
  default_backend backend
frontend refused
  bind 127.0.0.1:${refusedPort} backlog 4096
  tcp-request ${logs ? "content" : "connection"} reject
  default_backend backend
backend backend
  server one 127.0.0.1:${lab.backendPort}
`,
  );
  const into = logs ? `${name}.log` : "/dev/null";
  const command = ["-c", `exec "$@" >${into}`, "sh", file, "-db", "-f", config];
  const pid = await start(lab, "peer", "/bin/sh", command, port);
  const version = firstMatch(file, ["-v"], /version (\S+)/);
  return { name, version, port, refusedPort, pid, forks: false, echoOnly: false };
}

async function startNginx(lab: Lab): Promise<Peer | undefined> {
  const file = find("nginx");
  const module = "/usr/lib/nginx/modules/ngx_stream_module.so";
  if (file === undefined) return undefined;
  const [port, refusedPort] = [await freePort(), await freePort()];
  const config = join(lab.folder, "nginx.conf");
  writeFileSync(
    config,
    `${existsSync(module) ? `load_module ${module};` : ""}
worker_processes 1;
daemon off;
pid ${lab.folder}/nginx.pid;
error_log stderr crit;
events { worker_connections 9000; }
stream {
  tcp_nodelay on;
  server { listen 127.0.0.1:${port} backlog=4096; proxy_pass 127.0.0.1:${lab.backendPort}; }
  server { listen 127.0.0.1:${refusedPort} backlog=4096; deny all; proxy_pass 127.0.0.1:${lab.backendPort}; }
}
`,
  );
  const pid = await start(lab, "peer", file, ["-c", config, "-p", lab.folder, "-e", "stderr"], port);
  const version = firstMatch(file, ["-v"], /nginx\/(\S+)/);
  return { name: "nginx", version, port, refusedPort, pid, forks: false, echoOnly: false };
}

async function startXinetd(lab: Lab): Promise<Peer | undefined> {
  const file = find("xinetd");
  if (file === undefined) return undefined;
  const [port, refusedPort] = [await freePort(), await freePort()];
  const config = join(lab.folder, "xinetd.conf");
  const service = (name: string, at: number, more: string): string => `service ${name}
{
  type = UNLISTED
  socket_type = stream
  protocol = tcp
  wait = no
  user = root
  bind = 127.0.0.1
  port = ${at}
  redirect = 127.0.0.1 ${lab.backendPort}
  instances = UNLIMITED
  per_source = UNLIMITED
  cps = 1000000 1
  flags = NODELAY
  ${more}
}
`;
  writeFileSync(
    config,
    service("allowed", port, "") + service("refused", refusedPort, "no_access = 0.0.0.0/0"),
  );
  const pid = await start(
    lab,
    "peer",
    file,
    ["-dontfork", "-f", config, "-pidfile", join(lab.folder, "xinetd.pid")],
    port,
  );
  const version = firstMatch(file, ["-version"], /Version (\S+)/);
  return { name: "xinetd", version, port, refusedPort, pid, forks: true, sessions: 100, echoOnly: false };
}

async function startRinetd(lab: Lab): Promise<Peer | undefined> {
  const file = find("rinetd");
  if (file === undefined) return undefined;
  const port = await freePort();
  const config = join(lab.folder, "rinetd.conf");
  writeFileSync(config, `127.0.0.1 ${port} 127.0.0.1 ${lab.backendPort}\n`);
  const pid = await start(lab, "peer", file, ["-f", "-c", config], port);
  const version = packageVersion("rinetd");
  // It waits with select(2), which knows 1024 descriptors.
  return { name: "rinetd", version, port, pid, forks: false, sessions: 400, echoOnly: false };
}

async function startSocat(lab: Lab): Promise<Peer | undefined> {
  const file = find("socat");
  if (file === undefined) return undefined;
  const port = await freePort();
  const listen = `TCP4-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork,nodelay,backlog=1024`;
  const pid = await start(
    lab,
    "peer",
    file,
    ["-b", "131072", listen, `TCP4:127.0.0.1:${lab.backendPort},nodelay`],
    port,
  );
  const version = firstMatch(file, ["-V"], /socat version (\S+)/);
  return { name: "socat", version, port, pid, forks: true, sessions: 100, echoOnly: false };
}

/** What tcpd's users have: a process for each connection, tcpd reads the tables and becomes the daemon. */
async function startTcpserver(lab: Lab): Promise<Peer | undefined> {
  const [file, tcpd] = [find("tcpserver"), find("tcpd")];
  if (file === undefined || tcpd === undefined) return undefined;
  const port = await freePort();
  const echo = join(lab.folder, "bench-echo");
  if (!existsSync(echo)) symlinkSync(lab.load, echo);
  const serve = [lab.load, "exec", tcpd, echo];
  const pid = await start(
    lab,
    "peer",
    file,
    ["-c", "500", "-HRl0", "-b", "1024", "127.0.0.1", `${port}`, ...serve],
    port,
  );
  const version = `${packageVersion("ucspi-tcp")}, ${packageVersion("tcpd")}`;
  return { name: "tcpserver+tcpd", version, port, pid, forks: true, sessions: 100, echoOnly: true };
}

async function startTcpwrapd(lab: Lab, name: string, rules: number): Promise<Peer> {
  const [port, refusedPort] = [await freePort(), await freePort()];
  const folder = join(lab.folder, name);
  mkdirSync(folder, { recursive: true });
  const [allow, deny] = [join(folder, "hosts.allow"), join(folder, "hosts.deny")];
  // Rules for others stand in front of the one that decides.
  const others = Array.from({ length: rules - 2 }, (_, at) => {
    const net = `10.${(at >> 14) & 255}.${(at >> 6) & 255}.${(at & 63) << 2}`;
    return `bench : ${net}/255.255.255.252\n`;
  });
  writeFileSync(allow, `${others.join("")}bench : 127.\n`);
  writeFileSync(deny, "refused : ALL\n");
  const service = (of: string, at: number): string[] => [
    "--service",
    `${of}=127.0.0.1:${at},127.0.0.1:${lab.backendPort}`,
  ];
  const services = [...service("bench", port), ...service("refused", refusedPort)];
  // As a distribution would run it: one record for each decision, to a file.
  const args = [
    lab.main,
    "run",
    ...services,
    "--allow-file",
    allow,
    "--deny-file",
    deny,
    "--log-format",
    "json",
  ];
  const pid = await start(
    lab,
    "peer",
    "/bin/sh",
    ["-c", 'exec "$@" >records.log', "sh", lab.node, ...args],
    port,
  );
  const version = `Node ${firstMatch(lab.node, ["-v"], /v(\S+)/)}`;
  return { name, version, port, refusedPort, pid, forks: false, echoOnly: false };
}

function find(program: string): string | undefined {
  return ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
    .map((folder) => join(folder, program))
    .find((file) => existsSync(file));
}

function firstMatch(file: string, args: readonly string[], pattern: RegExp): string {
  const said = execFileSync("/bin/sh", ["-c", '"$@" 2>&1; true', "sh", file, ...args], { encoding: "utf8" });
  return pattern.exec(said)?.[1] ?? "unknown";
}

function packageVersion(name: string): string {
  return firstMatch("dpkg-query", ["-W", "-f", "${Version}", name], /^(\S+)$/m);
}
