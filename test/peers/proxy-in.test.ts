/** HAProxy and nginx in front of the daemon, announcing their clients. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect, type NetConnectOpts } from "node:net";
import { join } from "node:path";
import { before, test, type TestContext } from "node:test";
import { RunningDaemon } from "../support/daemon.ts";
import { type Backend, startBackend } from "../support/peers.ts";
import { freePort, needPrograms, startServer } from "../support/program.ts";
import { scratchFolder } from "../support/scratch.ts";

before(() => needPrograms("/usr/sbin/haproxy", "/usr/sbin/nginx"));

/** The daemon that believes 127.0.0.1, with an echo behind it. */
async function daemonBehind(
  t: TestContext,
  allow: string,
): Promise<{ daemon: RunningDaemon; port: number; backend: Backend }> {
  const backend = await startBackend(t);
  const yaml =
    "names: {reverse: never}\n" +
    `services: {sshd: {listen: ["127.0.0.1:0"], backend: "${backend.address}", proxyProtocol: {acceptFrom: [127.0.0.1]}}}\n`;
  // The proxy's own connections, which it announces as LOCAL, are recorded at level debug when they are let in.
  const args = ["--log-level", "debug"];
  const daemon = await RunningDaemon.start(t, { services: {}, yaml, allow, deny: "ALL: ALL\n", args });
  return { daemon, port: daemon.port("sshd"), backend };
}

/** Starts HAProxy with one frontend and one server line. */
async function startHaproxy(t: TestContext, bind: string, server: string, more = ""): Promise<void> {
  const folder = scratchFolder(t);
  const file = join(folder, "haproxy.cfg");
  writeFileSync(
    file,
    `global
  maxconn 200
defaults
  mode tcp
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  unique-id-format %ci-%cp
frontend in
  bind ${bind}
  default_backend out
backend out
  server daemon ${server}
${more}`,
  );
  const program = startServer(t, "/usr/sbin/haproxy", ["-db", "-f", file]);
  await listening(bind, program);
}

async function startNginx(t: TestContext, listen: string, to: number): Promise<void> {
  const folder = scratchFolder(t);
  const file = join(folder, "nginx.conf");
  writeFileSync(
    file,
    `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid ${folder}/pid;
error_log stderr;
events {}
stream { server { listen ${listen}; proxy_pass 127.0.0.1:${to}; proxy_protocol on; proxy_half_close on; } }
`,
  );
  await listening(listen, startServer(t, "/usr/sbin/nginx", ["-c", file, "-p", folder]));
}

/** Waits until something accepts there. */
async function listening(
  place: string,
  program: { readonly exitCode: number | null; readonly said: string },
): Promise<void> {
  for (;;) {
    if (program.exitCode !== null) throw new Error(`it ended at once: ${program.said}`);
    // From an address of its own, so that no test takes the knock for a client.
    const socket = connect({
      ...target(place),
      ...(place.startsWith("127.") && { localAddress: "127.0.0.99" }),
    });
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function target(place: string): NetConnectOpts {
  if (place.startsWith("unix@")) return { path: place.slice("unix@".length) };
  const at = place.lastIndexOf(":");
  return { host: place.slice(0, at).replace(/[[\]]/g, ""), port: Number(place.slice(at + 1)) };
}

/** Sends bytes, ends, and gives back what came until the end, or the code of the error. */
async function exchange(to: NetConnectOpts, bytes: Uint8Array): Promise<Buffer | string> {
  const socket = connect({ ...to, allowHalfOpen: true });
  const chunks: Buffer[] = [];
  let failure = "";
  socket.on("error", (error: NodeJS.ErrnoException) => (failure = error.code ?? "error"));
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.end(bytes);
  await new Promise((resolve) => socket.once("close", resolve)); // once() would reject with the reset
  return failure === "" ? Buffer.concat(chunks) : failure;
}

const hash = (bytes: Buffer | string): string => createHash("sha256").update(bytes).digest("hex");

const senders: [name: string, server: string][] = [
  ["send-proxy", "send-proxy"],
  ["send-proxy-v2", "send-proxy-v2"],
  [
    "send-proxy-v2 with a checksum and a unique id",
    "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority",
  ],
];
for (const [name, options] of senders) {
  test(`B2, B11, B17: HAProxy ${name}: rules see its client, and 1 MiB comes back whole`, async (t) => {
    const { daemon, port, backend } = await daemonBehind(t, "sshd: 127.0.0.66\n");
    const bind = `127.0.0.1:${await freePort()}`;
    await startHaproxy(t, bind, `127.0.0.1:${port} ${options}`);
    const sent = randomBytes(1024 * 1024);
    const seen = await exchange({ ...target(bind), localAddress: "127.0.0.66" }, sent);
    assert.equal(hash(seen), hash(sent));
    const accept = await daemon.find(({ event }) => event === "accept");
    assert.equal(accept.client?.address, "127.0.0.66");
    assert.equal((accept["proxy"] as { address: string }).address, "127.0.0.1");
    const joined = backend.connections;
    await exchange({ ...target(bind), localAddress: "127.0.0.67" }, Buffer.from("x"));
    const refuse = await daemon.find(
      ({ event, client }) => event === "refuse" && client?.address === "127.0.0.67",
    );
    assert.equal(refuse.reason, "rule");
    assert.equal(backend.connections, joined);
  });
}

for (const options of ["send-proxy", "send-proxy-v2"]) {
  test(`B5: HAProxy ${options} announces an IPv6 client over IPv4`, async (t) => {
    const { daemon, port } = await daemonBehind(t, "sshd: [::1]\n");
    const bind = `[::1]:${await freePort()}`;
    await startHaproxy(t, bind, `127.0.0.1:${port} ${options}`);
    assert.equal(String(await exchange(target(bind), Buffer.from("six"))), "six");
    assert.equal((await daemon.find(({ event }) => event === "accept")).client?.address, "::1");
  });

  test(`B6, B7, B12: HAProxy ${options} for a client on a unix socket: nobody is announced but HAProxy itself`, async (t) => {
    const { daemon, port } = await daemonBehind(t, "sshd: 127.0.0.1\n");
    const bind = `unix@${join(scratchFolder(t), "in")}`;
    await startHaproxy(t, bind, `127.0.0.1:${port} ${options}`);
    assert.equal(String(await exchange(target(bind), Buffer.from("unix"))), "unix");
    assert.equal((await daemon.find(({ event }) => event === "accept")).client?.address, "127.0.0.1");
  });

  test(`B7: HAProxy's health checks with ${options} are HAProxy's own connections`, async (t) => {
    const { daemon, port } = await daemonBehind(t, "sshd: 127.0.0.1\n");
    const bind = `127.0.0.1:${await freePort()}`;
    await startHaproxy(t, bind, `127.0.0.1:${port} ${options} check check-send-proxy inter 100ms`);
    const accepted = await daemon.find(
      ({ event, client }) => event === "accept" && client?.address === "127.0.0.1",
    );
    assert.equal(accepted.rule?.line, 1);
  });
}

test("B3: a client of HAProxy that waits for the greeting gets it", async (t) => {
  const { daemon } = await daemonBehind(t, "sshd: 127.0.0.66\n");
  const greeter = await startBackend(t, (socket) => socket.end("220 ready\r\n"));
  const yaml =
    "names: {reverse: never}\n" +
    `services: {ftpd: {listen: ["127.0.0.1:0"], backend: "${greeter.address}", proxyProtocol: {acceptFrom: [127.0.0.1]}}}\n`;
  const greeting = await RunningDaemon.start(t, {
    services: {},
    yaml,
    allow: "ftpd: 127.0.0.66\n",
    deny: "ALL: ALL\n",
  });
  const bind = `127.0.0.1:${await freePort()}`;
  await startHaproxy(t, bind, `127.0.0.1:${greeting.port("ftpd")} send-proxy-v2`);
  const socket = connect({ ...target(bind), localAddress: "127.0.0.66" });
  assert.equal(String((await once(socket, "data"))[0]), "220 ready\r\n");
  socket.destroy();
  assert.deepEqual(
    daemon.records.filter(({ event }) => event === "accept"),
    [],
  );
});

test("B2, B17: nginx proxy_protocol: rules see its client, and 1 MiB comes back whole", async (t) => {
  const { daemon, port } = await daemonBehind(t, "sshd: 127.0.0.66\n");
  const listen = `127.0.0.1:${await freePort()}`;
  await startNginx(t, listen, port);
  const sent = randomBytes(1024 * 1024);
  assert.equal(hash(await exchange({ ...target(listen), localAddress: "127.0.0.66" }, sent)), hash(sent));
  assert.equal((await daemon.find(({ event }) => event === "accept")).client?.address, "127.0.0.66");
  await exchange({ ...target(listen), localAddress: "127.0.0.67" }, Buffer.from("x"));
  await daemon.find(({ event, client }) => event === "refuse" && client?.address === "127.0.0.67");
});

test("B14: HAProxy without send-proxy is refused by what its client says", async (t) => {
  const { daemon, port, backend } = await daemonBehind(t, "sshd: ALL\n");
  const bind = `127.0.0.1:${await freePort()}`;
  await startHaproxy(t, bind, `127.0.0.1:${port}`);
  await exchange(target(bind), Buffer.from("SSH-2.0-client\r\n"));
  const refuse = await daemon.find(({ detail }) => detail === "the first bytes are no PROXY header");
  assert.deepEqual([refuse.event, refuse.reason], ["refuse", "error"]);
  assert.equal(backend.connections, 0);
});
