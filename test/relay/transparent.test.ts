/** Sockets from the client's own address: the calls that make them, and what is said when they cannot be made. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { test } from "node:test";

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
  ["option 0/19", 1, "EPERM", /^IP_TRANSPARENT: EPERM; CAP_NET_ADMIN is missing$/],
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

test("without koffi the error names the package", async () => {
  const load = (): Promise<never> => Promise.reject(new Error("Cannot find package 'koffi'"));
  await assert.rejects(loadTransparent(load), { code: "ENOPKG", message: /npm install koffi/ });
});

test("C6: a dial whose source cannot be had fails; nothing connects", async () => {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const open = (): never => {
    throw new TransparentError("EPERM", "IP_TRANSPARENT: EPERM; CAP_NET_ADMIN is missing");
  };
  await assert.rejects(
    dial({ kind: "tcp", host: "127.0.0.1", port }, { connectTimeoutMs: 1000, open }),
    (error) => {
      assert.ok(error instanceof DialError);
      assert.equal(error.endCause, "backend_unreachable");
      assert.deepEqual(error.tried, [`127.0.0.1:${port} EPERM`]);
      return true;
    },
  );
  server.close();
  await once(server, "close");
  assert.equal(connections, 0);
});

const right: TransparentCheckOptions = {
  backends: ["127.0.0.1"],
  read: async (path) => (path.endsWith("route_localnet") ? "1\n" : "0\n"),
  ip: async ([, what]) =>
    what === "route"
      ? "local 127.0.0.0/8 dev lo table local proto kernel\nlocal default dev lo table 100 scope host\n"
      : "0:\tfrom all lookup local\n32765:\tfrom all fwmark 0x1 lookup 100\n32766:\tfrom all lookup main\n",
  load: async () => () => ({ destroy: () => undefined }) as never,
};

test("C6: a machine that has everything lacks nothing", async () => {
  assert.deepEqual(await checkTransparent(right), []);
});

const lacks: [what: string, change: Partial<TransparentCheckOptions>, code: string, hint: RegExp][] = [
  [
    "the package",
    { load: () => Promise.reject(new TransparentError("ENOPKG", "no koffi")) },
    "package",
    /^npm install koffi$/,
  ],
  [
    "the capability",
    {
      load: async () => () => {
        throw new TransparentError("EPERM", "IP_TRANSPARENT: EPERM");
      },
    },
    "capability",
    /CAP_NET_ADMIN/,
  ],
  [
    "the route",
    { ip: async () => "local 127.0.0.0/8 dev lo table local\n" },
    "route",
    /^ip -4 route add local default dev lo table 100$/,
  ],
  [
    "the rule",
    {
      ip: async ([, what]) =>
        what === "route" ? "local default dev lo table 100 scope host\n" : "0: from all lookup local\n",
    },
    "rule",
    /^ip -4 rule add .* lookup 100/,
  ],
  ["ip itself", { ip: () => Promise.reject(new Error("ENOENT")) }, "route", /^ip -4 route add/],
  [
    "route_localnet",
    { read: async () => "0\n" },
    "sysctl",
    /^sysctl -w net\.ipv4\.conf\.all\.route_localnet=1$/,
  ],
];
for (const [what, change, code, hint] of lacks) {
  test(`C6: a machine without ${what} is told the line to write`, async () => {
    const missing = await checkTransparent({ ...right, ...change });
    assert.deepEqual(
      missing.map((each) => each.code),
      [code],
    );
    assert.match(missing[0]?.hint ?? "", hint);
  });
}
