/** `source: client` through the whole daemon: backends see the clients' own addresses, or nobody comes to them. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { RunningDaemon, type StartOptions } from "../support/daemon.ts";
import { type Finished, needPrograms, run, startServer } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";
import { type Host, makeTwoHosts } from "../support/two-hosts.ts";

needPrograms("/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/socat", "/usr/bin/nsenter", "/usr/bin/setpriv");

const top = fileURLToPath(new URL("../../", import.meta.url));

/** The lines that docs/source-client.md tells to type, for a backend's port. */
function linesOf(port: number): string[] {
  const page = readFileSync(join(top, "docs/source-client.md"), "utf8");
  const lines = [...page.matchAll(/^(ip -[46] (?:rule|route) .*?) *(?:#.*)?$/gm)].map(
    ([, line = ""]) => line,
  );
  return lines.map((line) => line.replace("sport 2222", `sport ${port}`));
}

interface Bed {
  readonly server: Host;
  readonly client: Host;
  /** What the client hears from a port of the server. */
  readonly call: (port: number, family?: 4 | 6) => Promise<Finished>;
}

/** A server whose backends on 127.0.0.1:2222 and [::1]:2222 tell who comes, and a client. */
async function makeBed(t: TestContext): Promise<Bed> {
  const { server, client } = makeTwoHosts(t);
  const told = 'SYSTEM:"echo $SOCAT_PEERADDR $SOCAT_PEERPORT; cat"';
  for (const listen of ["TCP4-LISTEN:2222,bind=127.0.0.1", "TCP6-LISTEN:2222,bind=[::1]"]) {
    const [file, ...args] = [...server.enter, "/usr/bin/socat", `${listen},reuseaddr,fork`, told];
    startServer(t, file, args);
  }
  await listening(server, 2222, 2);
  const call = async (port: number, family: 4 | 6 = 4): Promise<Finished> => {
    const address = family === 4 ? `TCP4:${server.ipv4}` : `TCP6:[${server.ipv6}]`;
    const [file, ...args] = [...client.enter, "/usr/bin/socat", "-T5", "-", `${address}:${port}`];
    return await run(file, args, "hello\n");
  };
  return { server, client, call };
}

/** Waits until so many sockets listen on a port. */
async function listening(host: Host, port: number, count: number): Promise<void> {
  const until = Date.now() + 10_000;
  while (host.sh(`ss -Hltn 'sport = :${port}'`).trim().split("\n").filter(Boolean).length < count) {
    assert.ok(Date.now() < until, `nobody listens on ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const services = {
  both: {
    listen: ["0.0.0.0:3001", "[::]:3001"],
    backend: ["127.0.0.1:2222", "[::1]:2222"],
    source: "client",
  },
  four: { listen: ["0.0.0.0:3002", "[::]:3002"], backend: "127.0.0.1:2222", source: "client" },
  plain: { listen: ["0.0.0.0:3003", "[::]:3003"], backend: "127.0.0.1:2222" },
};

const asNobody = { user: "nobody", workers: 1, onRestart: "drain" };

/** The configuration is JSON, which YAML takes. */
function daemonOf(
  t: TestContext,
  { server }: Bed,
  config: object,
  { before = [], ...options }: Partial<StartOptions> = {},
): Promise<RunningDaemon> {
  return RunningDaemon.start(t, {
    services: {},
    yaml: JSON.stringify({ names: { reverse: "needed" }, services, ...config }),
    before: [...server.enter, ...before],
    folderMode: 0o755,
    ...options,
  });
}

const onlyNetRaw = ["inh", "ambient", "bounding"]
  .map((set) => `--${set}${set === "bounding" ? "-set" : "-caps"}=-all,+net_raw`)
  .join(" ");

/** Who asked for the sockets: root for a worker that is nobody, or a worker that is not root and has the capability. */
const rights: [who: string, config: object, before: string[]][] = [
  ["workers of root that have become nobody", { process: asNobody }, []],
  [
    "a user with the ambient capability, as under systemd",
    { process: { workers: 2 } },
    `/usr/bin/setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs ${onlyNetRaw}`.split(" "),
  ],
  ["one process", { process: { workers: 0 } }, []],
];
for (const [who, config, before] of rights) {
  test(`C6: ${who}: backends see the client's own address and another port, by IPv4 and IPv6`, async (t) => {
    const bed = await makeBed(t);
    for (const line of linesOf(2222)) bed.server.sh(line);
    const daemon = await daemonOf(t, bed, config, { before, folderMode: 0o777 });
    for (const [family, address] of [
      [4, bed.client.ipv4],
      [6, bed.client.ipv6],
    ] as const) {
      const { out, err } = await bed.call(3001, family);
      const [peer = "", echoed] = out.split("\n");
      const [from, port] = peer.split(" ");
      const shown = family === 4 ? address : "[fd00:007b:0000:0000:0000:0000:0000:0011]";
      assert.deepEqual([from, echoed, err], [shown, "hello", ""]);
      const accept = await daemon.find(
        ({ event, client }) => event === "accept" && client?.address.replace("::ffff:", "") === address,
      );
      assert.notEqual(Number(port), accept.client?.port);
      const end = await daemon.find(({ event, id }) => event === "end" && id === accept.id);
      assert.deepEqual([end["upBytes"], end.downBytes], [6, peer.length + 1 + 6]);
    }
  });
}

test("C6: a client of the other family than the backend is reset with its cause on record, and never carried under our address", async (t) => {
  const bed = await makeBed(t);
  for (const line of linesOf(2222)) bed.server.sh(line);
  const daemon = await daemonOf(t, bed, { process: asNobody });
  const { out } = await bed.call(3002, 6);
  assert.equal(out, "");
  const end = await daemon.find(({ event }) => event === "end");
  assert.equal(end.cause, "backend_unreachable");
  assert.equal(
    end.detail,
    `backend_unreachable: 127.0.0.1:2222 EAFNOSUPPORT (a client at ${bed.client.ipv6} cannot be the source of a connection to 127.0.0.1)`,
  );
  // The backend is well, and gets the next client at once.
  assert.match((await bed.call(3002)).out, new RegExp(`^${bed.client.ipv4} `));
  // A service without the setting is as before.
  assert.match((await bed.call(3003, 6)).out, /^127\.0\.0\.1 /);
});

test("C6: a reload that asks for it where no rule leads back is refused with the line to type; with the line it works", async (t) => {
  const bed = await makeBed(t);
  const config = (source: string) => ({
    names: { reverse: "needed" },
    process: asNobody,
    services: { one: { ...services.plain, source } },
  });
  const daemon = await daemonOf(t, bed, config("own"));
  assert.match((await bed.call(3003)).out, /^127\.0\.0\.1 /);
  writeFileSync(daemon.configFile, JSON.stringify(config("client")));
  daemon.process.kill("SIGHUP");
  const refused = await daemon.find(({ code }) => code === "reload-refused");
  const said = String(refused["message"]);
  assert.match(said, /no rule leads the answers of 127\.0\.0\.1 port 2222 to table 100/);
  assert.match((await bed.call(3003)).out, /^127\.0\.0\.1 /);
  const typed = /type or write: (.*)$/.exec(said)?.[1]?.split("; ") ?? [];
  assert.deepEqual(typed, linesOf(2222).slice(0, 2));
  for (const line of typed) bed.server.sh(line);
  daemon.process.kill("SIGHUP");
  await daemon.find(({ code }) => code === "reloaded");
  assert.match((await bed.call(3003)).out, new RegExp(`^${bed.client.ipv4} `));
});

const lacks: [
  what: string,
  message: RegExp,
  prepare: (bed: Bed) => Partial<StartOptions> & { config?: object },
][] = [
  [
    "route and rule",
    /: tcpwrapd: source: client cannot work: no table makes every IPv4 address local, no rule .*; type or write: ip -4 route add /m,
    () => ({ config: { process: asNobody } }),
  ],
  [
    "the capability",
    /: tcpwrapd: source: client cannot work: IP_TRANSPARENT: EPERM; CAP_NET_RAW is missing.*AmbientCapabilities=CAP_NET_RAW/m,
    ({ server }) => {
      for (const line of linesOf(2222)) server.sh(line);
      return {
        before: ["/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"],
        folderMode: 0o777,
      };
    },
  ],
  [
    "anybody with rights: one process that has become nobody",
    /: tcpwrapd: source: client cannot work: with process\.workers 0 .*; write process: \{workers: 1\}/m,
    ({ server }) => {
      for (const line of linesOf(2222)) server.sh(line);
      return { config: { process: { ...asNobody, workers: 0 } } };
    },
  ],
];
for (const [what, message, prepare] of lacks) {
  test(`C6: without ${what} the daemon does not start, and says what is missing`, async (t) => {
    const bed = await makeBed(t);
    const { config = {}, ...options } = prepare(bed);
    await assert.rejects(daemonOf(t, bed, config, options), message);
  });
}

test("C6: without the package koffi the daemon does not start, and says how to install it", async (t) => {
  const bed = await makeBed(t);
  for (const line of linesOf(2222)) bed.server.sh(line);
  const folder = scratchFolder(t);
  cpSync(join(top, "dist"), join(folder, "dist"), { recursive: true });
  cpSync(join(top, "package.json"), join(folder, "package.json"));
  mkdirSync(join(folder, "node_modules"));
  for (const name of readdirSync(join(top, "node_modules"))) {
    if (name !== "koffi") symlinkSync(join(top, "node_modules", name), join(folder, "node_modules", name));
  }
  const program = join(folder, "dist/main.js");
  await assert.rejects(
    daemonOf(t, bed, { process: asNobody }, { program }),
    /^Error: the daemon ended at once: tcpwrapd: source: client cannot work: the optional package koffi is not there; type or write: npm install koffi\n$/,
  );
});

test("a real sshd on loopback sees, logs and tells the client's own address, by IPv4 and IPv6", async (t) => {
  const bed = await makeBed(t);
  for (const line of linesOf(2223)) bed.server.sh(line);
  const folder = scratchFolder(t);
  for (const key of ["host", "user"])
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, key)]);
  const config = `Port 2223
ListenAddress 127.0.0.1
ListenAddress ::1
HostKey ${folder}/host
PidFile none
AuthorizedKeysFile ${folder}/user.pub
StrictModes no
UsePAM no
LogLevel VERBOSE
PermitRootLogin prohibit-password
`;
  writeFileSync(join(folder, "sshd_config"), config);
  writeFileSync(join(folder, "known"), `test ${readFileSync(join(folder, "host.pub"), "utf8")}`);
  if (!existsSync("/run/sshd")) mkdirSync("/run/sshd");
  const [enter = "", ...entered] = bed.server.enter;
  const sshd = startServer(t, enter, [
    ...entered,
    "/usr/sbin/sshd",
    "-D",
    "-e",
    "-f",
    join(folder, "sshd_config"),
  ]);
  await listening(bed.server, 2223, 2);
  await daemonOf(t, bed, {
    process: asNobody,
    services: {
      sshd: {
        listen: ["0.0.0.0:22", "[::]:22"],
        backend: ["127.0.0.1:2223", "[::1]:2223"],
        source: "client",
      },
    },
  });
  const options = [
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "HostKeyAlias=test",
    `UserKnownHostsFile=${folder}/known`,
  ];
  for (const [to, from] of [
    [bed.server.ipv4, bed.client.ipv4],
    [bed.server.ipv6, bed.client.ipv6],
  ] as const) {
    const [file = "", ...args] = bed.client.enter;
    const flags = ["-F", "none", "-i", join(folder, "user"), ...options.flatMap((each) => ["-o", each])];
    const { out, err } = await run(file, [
      ...args,
      "/usr/bin/ssh",
      ...flags,
      `root@${to}`,
      "echo $SSH_CONNECTION",
    ]);
    assert.match(out, new RegExp(`^${from} \\d+ \\S+ 2223\\n$`), err);
    assert.ok(sshd.said.includes(`Accepted publickey for root from ${from} port`), sshd.said);
  }
});
