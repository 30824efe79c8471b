/** Sockets from the client's own address: the calls that make them, and what is said when they cannot be made. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, Socket, type AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";

import { Backends } from "../../src/relay/backends.ts";
import { dial, DialError } from "../../src/relay/dial.ts";
import {
  loadTransparent,
  TransparentError,
  transparentSockets,
  type SocketCalls,
} from "../../src/relay/transparent.ts";
import { checkTransparent, type TransparentCheckOptions } from "../../src/relay/transparent-check.ts";

/** A libc that writes down what it is asked, and fails where it is told to. */
function fakeCalls(
  failing: string,
  errno: number,
): { calls: SocketCalls; asked: string[]; closed: number[] } {
  const asked: string[] = [];
  const closed: number[] = [];
  const answer = (name: string, text: string): number => {
    asked.push(text);
    return name === failing ? -1 : 0;
  };
  const calls: SocketCalls = {
    socket: (domain) => (answer("socket", `socket ${domain}`) < 0 ? -1 : 77),
    setsockopt: (fd, level, name) => answer(`option ${level}/${name}`, `option ${fd} ${level}/${name}`),
    bind: (fd, address) => answer("bind", `bind ${fd} ${Buffer.from(address).toString("hex")}`),
    close: (fd) => {
      closed.push(fd);
      return 0;
    },
    errno: () => errno,
  };
  return { calls, asked, closed };
}

const failures: [at: string, errno: number, code: string, message: RegExp][] = [
  ["socket", 24, "EMFILE", /^socket: EMFILE$/],
  ["option 0/19", 1, "EPERM", /^IP_TRANSPARENT: EPERM; CAP_NET_RAW is missing$/],
  ["bind", 99, "EADDRNOTAVAIL", /^bind to 192\.0\.2\.7: EADDRNOTAVAIL$/],
];
for (const [at, errno, code, message] of failures) {
  test(`C6: ${at} that fails is an error with a code, and leaves no descriptor`, () => {
    const { calls, closed } = fakeCalls(at, errno);
    assert.throws(() => transparentSockets(calls)("192.0.2.7", "127.0.0.1"), {
      name: "TransparentError",
      code,
      message,
    });
    assert.deepEqual(closed, at === "socket" ? [] : [77]);
  });
}

test("the source is bound before the connection, IPv4-mapped as IPv4", () => {
  const { calls, asked } = fakeCalls("bind", 99);
  assert.throws(() => transparentSockets(calls)("::ffff:192.0.2.7", "127.0.0.1"), TransparentError);
  assert.deepEqual(asked, [
    "socket 2",
    "option 77 0/19",
    "option 77 0/24",
    "bind 77 02000000c00002070000000000000000",
  ]);
});

test("an IPv6 source is bound with its own option, without its zone", () => {
  const { calls, asked } = fakeCalls("bind", 99);
  assert.throws(() => transparentSockets(calls)("fe80::7%eth0", "::1"), TransparentError);
  assert.deepEqual(asked.slice(0, 3), ["socket 10", "option 77 41/75", "option 77 0/24"]);
  assert.match(asked[3] ?? "", /^bind 77 0a00000000000000fe800000000000000000000000000007/);
});

test("a client of the other family is refused, not carried under our own address", () => {
  const { calls, asked } = fakeCalls("", 0);
  assert.throws(() => transparentSockets(calls)("2001:db8::1", "127.0.0.1"), { code: "EAFNOSUPPORT" });
  assert.deepEqual(asked, []);
});

test("a client of a unix socket, which has no address, is refused", () => {
  const { calls } = fakeCalls("", 0);
  assert.throws(() => transparentSockets(calls)("unix", "127.0.0.1"), { code: "EAFNOSUPPORT" });
});

test("without koffi the error names the package", async () => {
  const load = (): Promise<never> => Promise.reject(new Error("Cannot find package 'koffi'"));
  await assert.rejects(loadTransparent(load), {
    code: "ENOPKG",
    message: /optional package koffi is not there/,
  });
});

/** A server that counts its connections. */
async function startServer(t: TestContext) {
  const seen = { connections: 0, port: 0 };
  const server = createServer((socket) => {
    seen.connections += 1;
    socket.destroy();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  seen.port = (server.address() as AddressInfo).port;
  return seen;
}

const sourceFailures: [code: string, message: string, endCause: string, because: string][] = [
  ["EPERM", "IP_TRANSPARENT: EPERM", "internal", "what we lack ourselves"],
  ["EAFNOSUPPORT", "a client at 2001:db8::1 cannot be the source", "backend_unreachable", "the other family"],
];
for (const [code, message, endCause, because] of sourceFailures) {
  test(`C6: a dial whose source cannot be had (${because}) fails and says why; nothing connects, no backend rests`, async (t) => {
    const seen = await startServer(t);
    const address = { kind: "tcp", host: "127.0.0.1", port: seen.port } as const;
    const backends = new Backends({ addresses: [address] });
    const open = (): never => {
      throw new TransparentError(code, message);
    };
    await assert.rejects(backends.dial({ connectTimeoutMs: 1000, open }), (error) => {
      assert.ok(error instanceof DialError);
      assert.equal(error.endCause, endCause);
      assert.deepEqual(error.tried, [`127.0.0.1:${seen.port} ${code}`]);
      assert.equal(error.message, `${endCause}: 127.0.0.1:${seen.port} ${code} (${message})`);
      return true;
    });
    assert.equal(backends.health()[0]?.restsForMs, 0);
    assert.equal(seen.connections, 0);
  });
}

test("C6: a socket that another process does not make in time ends the dial; one that comes later is closed", async (t) => {
  const seen = await startServer(t);
  const late = new Socket();
  let give = (_socket: Socket): void => undefined;
  const opening = new Promise<Socket>((resolve) => {
    give = resolve;
  });
  const dialling = dial(
    { kind: "tcp", host: "127.0.0.1", port: seen.port },
    { connectTimeoutMs: 30, open: () => opening },
  );
  await assert.rejects(dialling, { endCause: "connect_timeout" });
  give(late);
  await once(late, "close");
  assert.equal(seen.connections, 0);
});

/** What ip(8) prints on a machine where everything is right, by the beginning of its arguments. */
function ipOf(answers: Readonly<Record<string, string>>): NonNullable<TransparentCheckOptions["ip"]> {
  const right: Readonly<Record<string, string>> = {
    "-4 route get 127.0.0.1": "local 127.0.0.1 dev lo src 127.0.0.1 uid 0\n",
    "-4 route get 10.0.0.5": "10.0.0.5 dev eth1 src 10.0.0.1 uid 0\n",
    "-4 route get 192.0.2.1 from 127.0.0.1 ipproto tcp sport 2222":
      "local 192.0.2.1 from 127.0.0.1 dev lo table 100 uid 0\n",
    "-4 route get 192.0.2.1 from 10.0.0.5 iif eth1 ipproto tcp sport 2222":
      "local 192.0.2.1 from 10.0.0.5 dev lo table 100\n    cache <local> iif eth1\n",
    "-4 route show": "local 127.0.0.0/8 dev lo table local\nlocal default dev lo table 100 scope host\n",
    "-4 rule show": "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n",
  };
  const all = Object.entries({ ...right, ...answers }).sort(([one], [other]) => other.length - one.length);
  return async (args) => all.find(([beginning]) => args.join(" ").startsWith(beginning))?.[1] ?? "";
}

const viaUplink = Object.fromEntries(
  ["from 127.0.0.1 ipproto tcp sport 2222", "from 10.0.0.5 iif eth1 ipproto tcp sport 2222"].map(
    (question) => [`-4 route get 192.0.2.1 ${question}`, "192.0.2.1 via 10.0.0.254 dev eth0\n"],
  ),
);
const marked = {
  ...viaUplink,
  "-4 rule show": "0:\tfrom all lookup local\n32765:\tfrom all fwmark 0x1 lookup 100\n",
};

const right: TransparentCheckOptions = {
  backends: [{ address: "127.0.0.1", port: 2222 }],
  read: async (path) => (path.endsWith("route_localnet") ? "1\n" : "0\n"),
  ip: ipOf({}),
  load: async () => () => ({ destroy: () => undefined }),
};

const complete: [what: string, change: Partial<TransparentCheckOptions>][] = [
  ["a rule by port", {}],
  ["a backend elsewhere", { backends: [{ address: "10.0.0.5", port: 2222 }] }],
  ["a rule by firewall mark", { ip: ipOf(marked) }],
  ["no settings to read", { ip: ipOf(marked), read: () => Promise.reject(new Error("ENOENT")) }],
  ["a rule by port, whatever the settings", { read: async () => "1\n" }],
];
for (const [what, change] of complete) {
  test(`C6: a machine with ${what} lacks nothing`, async () => {
    assert.deepEqual(await checkTransparent({ ...right, ...change }), []);
  });
}

const lacks: [what: string, change: Partial<TransparentCheckOptions>, code: string[], hint: RegExp][] = [
  [
    "the package",
    { load: () => Promise.reject(new TransparentError("ENOPKG", "no koffi")) },
    ["package"],
    /^npm install koffi$/,
  ],
  [
    "the capability",
    {
      load: async () => () => {
        throw new TransparentError("EPERM", "IP_TRANSPARENT: EPERM");
      },
    },
    ["capability"],
    /^AmbientCapabilities=CAP_NET_RAW/,
  ],
  [
    "the route",
    { ip: ipOf({ ...viaUplink, "-4 route show": "local 127.0.0.0/8 dev lo table local\n" }) },
    ["route", "rule"],
    /^ip -4 route add local default dev lo table 100$/,
  ],
  ["the rule", { ip: ipOf(viaUplink) }, ["rule"], /^ip -4 rule add ipproto tcp sport 2222 lookup 100$/],
  [
    "ip itself",
    { ip: () => Promise.reject(Object.assign(new Error("spawn ip"), { code: "ENOENT" })) },
    ["unverified"],
    /^ip -4 route get 192\.0\.2\.1 from 127\.0\.0\.1 ipproto tcp sport 2222$/,
  ],
  [
    "route_localnet, with marks",
    { ip: ipOf(marked), read: async () => "0\n" },
    ["sysctl"],
    /^sysctl -w net\.ipv4\.conf\.all\.route_localnet=1$/,
  ],
];
for (const [what, change, codes, hint] of lacks) {
  test(`C6: a machine without ${what} is told the line to write`, async () => {
    const missing = await checkTransparent({ ...right, ...change });
    assert.deepEqual(
      missing.map((each) => each.code),
      codes,
    );
    assert.match(missing[0]?.hint ?? "", hint);
  });
}
