import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import * as fc from "fast-check";
import type { Request } from "../../src/access/types.ts";
import { askIdent, maxReplyBytes, parseIdentReply } from "../../src/identify/ident.ts";
import { Lookups } from "../../src/identify/lookups.ts";
import { startIdent } from "../support/ident-server.ts";
import { fuzzSeed } from "../support/fuzz-seed.ts";

const ports = { client: 40000, server: 22 };

const replies: [reply: string, user: string, because: string][] = [
  ["40000,22:USERID:UNIX:bob", "bob", "the plain form"],
  ["40000 , 22 : USERID : UNIX : bob", "bob", "blanks around ports and words"],
  ["\t 40000\t,\t22:USERID:UNIX:bob\r", "bob", "tabs and CR are blanks"],
  ["+40000,+22:USERID:UNIX:bob", "bob", "a plus sign too"],
  ["040000,022:USERID:UNIX:bob", "bob", "ports are numbers, not text"],
  ["40000,22:USERID:UNIX,US-ASCII:bob", "bob", "a character set may follow the system"],
  ["40000,22:USERID: :bob", "bob", "a blank is a system too"],
  [
    "40000,22:USERID:OTHER:Bob_the-2.nd extra",
    "Bob_the-2.nd",
    "the first run without blanks, as it is spelled",
  ],
  ["40000,22:USERID:UNIX:unknown", "unknown", "a user may be called unknown"],
  ["40001,22:USERID:UNIX:bob", "unknown", "F11: another client port is another connection"],
  ["40000,23:USERID:UNIX:bob", "unknown", "F11: another server port too"],
  ["22,40000:USERID:UNIX:bob", "unknown", "the client's port comes first"],
  ["40000,22:userid:UNIX:bob", "unknown", "USERID is case-sensitive"],
  ["40000,22:USERID::bob", "unknown", "the system is not empty"],
  ["40000,22:USERID:UNIX:", "unknown", "a user is not empty"],
  ["40000,22:USERID:UNIX:   ", "unknown", "blanks are no user"],
  ["40000,22:USERID:UNIX", "unknown", "a field is missing"],
  ["40000,22:ERROR:NO-USER", "unknown", "an error"],
  ["40000,22:ERROR:HIDDEN-USER:bob", "unknown", "an error with more text"],
  ["", "unknown", "nothing"],
  ["-40000,22:USERID:UNIX:bob", "unknown", "no negative ports"],
  ["0x9c40,22:USERID:UNIX:bob", "unknown", "no hexadecimal ports"],
  ["x40000,22:USERID:UNIX:bob", "unknown", "nothing before the ports"],
  ["40000,22:USERID:UNIX:b$(reboot)b", "unknown", "F11: shell characters make no user"],
  ["40000,22:USERID:UNIX:bob@root", "unknown", "nor does an at sign"],
  ["40000,22:USERID:UNIX:a:b", "unknown", "nor a colon"],
  ["40000,22:USERID:UNIX:\u001b[2J", "unknown", "nor an escape code"],
  ["40000,22:USERID:UNIX:b\u00f6b", "unknown", "nor a byte above ASCII"],
  ["40000,22:USERID:UNIX:b\0b", "unknown", "nor a NUL"],
  [`40000,22:USERID:UNIX:${"u".repeat(200)}`, "u".repeat(127), "a long user is cut to what libwrap keeps"],
];
for (const [reply, user, because] of replies) {
  test(`parseIdentReply ${JSON.stringify(reply).slice(0, 60)} is ${user.slice(0, 12)}: ${because}`, () =>
    assert.equal(parseIdentReply(reply, ports), user));
}

const runs = Number(process.env["FUZZ_RUNS"] ?? 20_000);

test(`F11: parseIdentReply gives a clean word for ${runs} arbitrary replies`, () => {
  const field = fc.oneof(
    fc.constantFrom("40000", "22", " ", ",", ":", "USERID", "UNIX", "ERROR", "\r", "\t", "bob", "\0", "$("),
    fc.string({ unit: "binary", maxLength: 8 }),
  );
  const reply = fc.oneof(
    fc.array(field, { maxLength: 12 }).map((fields) => fields.join("")),
    fc.array(field, { maxLength: 4 }).map((fields) => `40000,22:USERID:UNIX:${fields.join("")}`),
    fc.string({ unit: "binary", maxLength: 2000 }),
  );
  fc.assert(
    fc.property(reply, (line) => {
      const user = parseIdentReply(line, ports);
      return /^[A-Za-z0-9._-]{1,127}$/.test(user) && (user === "unknown" || line.includes(user));
    }),
    { numRuns: runs, seed: fuzzSeed },
  );
});

test("parseIdentReply takes no longer for a hostile line than for any other", () => {
  const hostile = [
    " ".repeat(maxReplyBytes),
    `1${" ".repeat(500)}`,
    "0".repeat(500),
    `40000,22:USERID:${" ".repeat(480)}`,
  ];
  const start = performance.now();
  for (let n = 0; n < 1000; n++) for (const line of hostile) parseIdentReply(line, ports);
  assert.ok(performance.now() - start < 1000);
});

const good = (asked: string, user = "bob"): string => `${asked}:USERID:UNIX:${user}\r\n`;

async function ask(
  answer: (socket: Socket, asked: string) => void,
  withinMs: number,
): Promise<{ user: string; tookMs: number }> {
  const server = await startIdent(answer);
  const start = performance.now();
  try {
    const user = await askIdent({
      client: { address: "127.0.0.1", port: ports.client },
      server: { address: "127.0.0.1", port: ports.server },
      port: server.port,
      signal: AbortSignal.timeout(withinMs),
    });
    return { user, tookMs: performance.now() - start };
  } finally {
    await server.close();
  }
}

const servers: [
  what: string,
  answer: (socket: Socket, asked: string) => void,
  user: string,
  because: string,
][] = [
  ["a plain answer", (socket, asked) => socket.end(good(asked)), "bob", "it is the user"],
  [
    "an answer and an open connection",
    (socket, asked) => socket.write(good(asked)),
    "bob",
    "one line is enough",
  ],
  [
    "two lines",
    (socket, asked) => socket.write(good(asked) + good(asked, "eve")),
    "bob",
    "the first line counts",
  ],
  ["LF only", (socket, asked) => socket.end(`${asked}:USERID:UNIX:bob\n`), "bob", "CR is optional"],
  [
    "no end of line",
    (socket, asked) => socket.end(`${asked}:USERID:UNIX:bob`),
    "unknown",
    "the line is not complete",
  ],
  [
    "a newline first",
    (socket, asked) => socket.end(`\r\n${good(asked)}`),
    "unknown",
    "the first line is empty",
  ],
  ["nothing at all", (socket) => socket.end(), "unknown", "closed without an answer"],
  ["a reset", (socket) => socket.resetAndDestroy(), "unknown", "gone"],
  ["a lie about the ports", (socket) => socket.end(good("1,2")), "unknown", "another connection"],
  [
    "an over-long line",
    (socket, asked) => socket.write(good(asked, "u".repeat(600))),
    "u".repeat(127),
    "its beginning counts",
  ],
  [
    "10 MB without an end",
    (socket) => socket.write(Buffer.alloc(10_000_000, "x")),
    "unknown",
    "read no further than the bound",
  ],
  [
    "blanks without an end",
    (socket) => socket.write(" ".repeat(100_000)),
    "unknown",
    "read no further than the bound",
  ],
  [
    "one byte a time",
    (socket, asked) => {
      const bytes = [...Buffer.from(good(asked))];
      const next = (): void => {
        const byte = bytes.shift();
        if (byte !== undefined) socket.write(Uint8Array.of(byte), next);
      };
      next();
    },
    "bob",
    "pieces make a line",
  ],
];
for (const [what, answer, user, because] of servers) {
  test(`F11: askIdent hears ${what}, so the user is ${user.slice(0, 12)}: ${because}`, async () => {
    const heard = await ask(answer, 5000);
    assert.equal(heard.user, user);
    assert.ok(heard.tookMs < 4000, `took ${heard.tookMs} ms`);
  });
}

for (const [what, answer] of [
  ["is silent", () => {}],
  [
    "drips",
    (socket: Socket) => {
      const timer = setInterval(() => socket.write(" "), 20);
      socket.on("close", () => clearInterval(timer));
    },
  ],
] as [string, (socket: Socket) => void][]) {
  test(`F11: askIdent gives up at the limit when the server ${what}`, async () => {
    const { user, tookMs } = await ask(answer, 200);
    assert.equal(user, "unknown");
    assert.ok(tookMs > 190 && tookMs < 3000, `took ${tookMs} ms`);
  });
}

const impossible: [what: string, client: Request["client"], server: Request["server"]][] = [
  ["nobody listens there", { address: "127.0.0.9", port: 1 }, { address: "127.0.0.1", port: 22 }],
  ["the server address is not ours", { address: "127.0.0.1", port: 1 }, { address: "192.0.2.1", port: 22 }],
  ["the families differ", { address: "127.0.0.1", port: 1 }, { address: "::1", port: 22 }],
  ["the client is a unix socket", { address: "localhost" }, { address: "localhost" }],
  ["the client's port is not known", { address: "127.0.0.1" }, { address: "127.0.0.1", port: 22 }],
];
for (const [what, client, server] of impossible) {
  test(`askIdent is unknown when ${what}`, async () => {
    const ident = await startIdent((socket, asked) => socket.end(good(asked)));
    const { port } = ident;
    assert.equal(await askIdent({ client, server, port, signal: AbortSignal.timeout(5000) }), "unknown");
    assert.deepEqual(ident.asked, []);
    await ident.close();
  });
}

test("F11: askIdent does not ask back about a connection to the ident service: two hosts would go on for ever", async () => {
  const ident = await startIdent((socket, asked) => socket.end(good(asked)));
  const client = { address: "127.0.0.1", port: 40000 };
  const server = { address: "127.0.0.1", port: ident.port };
  assert.equal(
    await askIdent({ client, server, port: ident.port, signal: AbortSignal.timeout(5000) }),
    "unknown",
  );
  assert.deepEqual(ident.asked, []);
  await ident.close();
});

for (const [host, client, server] of [
  ["127.0.0.7", "127.0.0.7", "127.0.0.3"],
  ["127.0.0.7", "::ffff:127.0.0.7", "::ffff:127.0.0.3"],
  ["::1", "::1", "::1"],
] as const) {
  test(`find asks the host of ${client} from ${server}, client's port first, and once`, async () => {
    const ident = await startIdent((socket, asked) => socket.end(good(asked)), host);
    const names = { reverse: "never", timeoutMs: 100, servers: [], hostsFile: "" } as const;
    const lookups = new Lookups({ ...names, identTimeoutMs: 5000, identPort: ident.port });
    const request: Request = {
      daemon: "sshd",
      client: { address: client, port: 40000 },
      server: { address: server, port: 22 },
    };
    const patience = new AbortController().signal;
    const found = await lookups.find({ kind: "user" }, request, patience);
    assert.deepEqual(await lookups.find({ kind: "user" }, found, patience), { ...request, user: "bob" });
    const bare = (address: string): string => address.replace("::ffff:", "");
    assert.deepEqual(ident.asked, [{ query: "40000,22\r\n", from: bare(server), to: bare(client) }]);
    lookups.close();
    await ident.close();
  });
}

test("find takes the limit of the rule where it has one, and the configured one otherwise", async () => {
  const ident = await startIdent(() => {});
  const names = { reverse: "never", timeoutMs: 100, servers: [], hostsFile: "" } as const;
  const lookups = new Lookups({ ...names, identTimeoutMs: 100, identPort: ident.port });
  const client = { address: "127.0.0.1", port: 40000 };
  const request: Request = { daemon: "sshd", client, server: { address: "127.0.0.1", port: 22 } };
  for (const [withinMs, least] of [[undefined, 90] as const, [300, 290] as const]) {
    const start = performance.now();
    const fact = { kind: "user", ...(withinMs !== undefined && { withinMs }) } as const;
    assert.equal((await lookups.find(fact, request, new AbortController().signal)).user, "unknown");
    const took = performance.now() - start;
    assert.ok(took > least && took < least + 150, `took ${took} ms`);
  }
  lookups.close();
  await ident.close();
});

test("find takes a limit that no timer can count for a very long one", async () => {
  const ident = await startIdent((socket, asked) => setTimeout(() => socket.end(good(asked)), 50));
  const names = { reverse: "never", timeoutMs: 100, servers: [], hostsFile: "" } as const;
  const lookups = new Lookups({ ...names, identTimeoutMs: 100, identPort: ident.port });
  const client = { address: "127.0.0.1", port: 40000 };
  const request: Request = { daemon: "sshd", client, server: { address: "127.0.0.1", port: 22 } };
  for (const withinMs of [2 ** 31, 2 ** 32, 1e15]) {
    const found = await lookups.find({ kind: "user", withinMs }, request, new AbortController().signal);
    assert.equal(found.user, "bob");
  }
  lookups.close();
  await ident.close();
});
