import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { FoundName, ReverseDnsOptions } from "../../src/identify/reverse-dns.ts";
import { ReverseDns } from "../../src/identify/reverse-dns.ts";
import type { Answerer, DnsServer, Name } from "../support/dns-server.ts";
import { fromTable, startDns } from "../support/dns-server.ts";

interface World {
  readonly names: ReverseDns;
  readonly server: DnsServer;
  readonly warnings: string[];
  /** Moves the clock of the cache. */
  readonly pass: (ms: number) => void;
}

async function inWorld(
  answer: Answerer,
  use: (world: World) => Promise<void>,
  options: Partial<ReverseDnsOptions> = {},
): Promise<void> {
  const server = await startDns(answer);
  const warnings: string[] = [];
  let shift = 0;
  const names = new ReverseDns({
    timeoutMs: 1000,
    servers: [server.address],
    hostsFile: "",
    maxInFlight: 100,
    cacheEntries: 100,
    now: () => performance.now() + shift,
    warn: (warning) => warnings.push(warning),
    ...options,
  });
  try {
    await use({ names, server, warnings, pass: (ms) => (shift += ms) });
  } finally {
    names.close();
    await server.close();
  }
}

const ptr = (name: Name, ttl = 300): { type: "PTR"; data: Name; ttl: number } => ({
  type: "PTR",
  data: name,
  ttl,
});
const a = (data: string, ttl = 300): { type: "A"; data: string; ttl: number } => ({ type: "A", data, ttl });
const aaaa = (data: string, ttl = 300): { type: "AAAA"; data: string; ttl: number } => ({
  type: "AAAA",
  data,
  ttl,
});

const long = `${"a".repeat(60)}.${"b".repeat(60)}.example`; // 129 bytes
const zone = fromTable({
  "1.2.0.192.in-addr.arpa PTR": [ptr("Good.Example.TEST")],
  "good.example.test A": [a("192.0.2.200"), a("192.0.2.1")],
  "2.2.0.192.in-addr.arpa PTR": [ptr("good.example.test")],
  "3.2.0.192.in-addr.arpa PTR": [ptr("gone.example.test")],
  "4.2.0.192.in-addr.arpa PTR": { rcode: 2 },
  "5.2.0.192.in-addr.arpa PTR": { rcode: 5 },
  "6.2.0.192.in-addr.arpa PTR": { rcode: 0 },
  "7.2.0.192.in-addr.arpa PTR": [ptr("1.2.3.4")],
  "8.2.0.192.in-addr.arpa PTR": [ptr("1.2.3")],
  "9.2.0.192.in-addr.arpa PTR": [ptr("alias.example.test")],
  "alias.example.test A": [
    { type: "CNAME", data: "real.example.test" },
    { type: "A", owner: "real.example.test", data: "192.0.2.9" },
  ],
  "alias.example.test CNAME": [{ type: "CNAME", data: "real.example.test" }],
  "10.2.0.192.in-addr.arpa PTR": [
    { type: "CNAME", data: "10.0-63.2.0.192.in-addr.arpa" },
    { type: "PTR", owner: "10.0-63.2.0.192.in-addr.arpa", data: "classless.example.test" },
  ],
  "classless.example.test A": [a("192.0.2.10")],
  "11.2.0.192.in-addr.arpa PTR": [ptr("first.example.test"), ptr("second.example.test")],
  "first.example.test A": [a("192.0.2.99")],
  "second.example.test A": [a("192.0.2.11")],
  "12.2.0.192.in-addr.arpa PTR": [ptr("v6only.example.test")],
  "v6only.example.test AAAA": [aaaa("2001:db8::12")],
  "13.2.0.192.in-addr.arpa PTR": [ptr("broken.example.test")],
  "broken.example.test A": { rcode: 2 },
  "14.2.0.192.in-addr.arpa PTR": [ptr("localhost")],
  "localhost A": [a("127.0.0.1")],
  "15.2.0.192.in-addr.arpa PTR": [ptr("dotless")],
  "dotless A": [a("192.0.2.15")],
  "16.2.0.192.in-addr.arpa PTR": [ptr("-dash.example.test")],
  "-dash.example.test A": [a("192.0.2.16")],
  "17.2.0.192.in-addr.arpa PTR": [ptr("under_score.example.test")],
  "under_score.example.test A": [a("192.0.2.17")],
  "18.2.0.192.in-addr.arpa PTR": [ptr(long)],
  [`${long.slice(0, 127)} A`]: [a("192.0.2.18")],
  "19.2.0.192.in-addr.arpa PTR": [ptr("")],
  "20.2.0.192.in-addr.arpa PTR": [ptr("unknown")],
  "unknown A": [a("192.0.2.20")],
  "21.2.0.192.in-addr.arpa PTR": [ptr("slow.example.test")],
  "slow.example.test A": "silent",
  "slow.example.test CNAME": "silent",
  "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR": [ptr("six.example.test")],
  "six.example.test AAAA": [aaaa("2001:db8::1")],
  "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa PTR": [ptr("link.example.test")],
  "link.example.test AAAA": [aaaa("fe80::1")],
});

const rows: [address: string, name: string, status: string, because: string][] = [
  ["192.0.2.1", "good.example.test", "ok", "one of its addresses is the client's; lower case"],
  ["::ffff:192.0.2.1", "good.example.test", "ok", "F5: an IPv4-mapped peer is asked for as IPv4"],
  ["192.0.2.2", "paranoid", "paranoid", "the name does not list the address"],
  ["192.0.2.3", "paranoid", "paranoid", "the name does not exist"],
  ["192.0.2.4", "unknown", "servfail", "F2: a broken server says nothing about names"],
  ["192.0.2.5", "unknown", "refused", "F2: nor does one that refuses"],
  ["192.0.2.6", "unknown", "nxdomain", "F2: an empty answer is no name"],
  ["192.0.2.77", "unknown", "nxdomain", "F2: no such record"],
  ["192.0.2.7", "paranoid", "paranoid", "a number in place of a name is a forgery"],
  ["192.0.2.8", "paranoid", "paranoid", "short numbers are numbers too"],
  ["192.0.2.9", "paranoid", "paranoid", "a PTR that points to an alias does not name the host"],
  ["192.0.2.10", "classless.example.test", "ok", "F4: an alias on the way to the PTR is the way of RFC 2317"],
  ["192.0.2.11", "paranoid", "paranoid", "F4: of several names the first one is checked, as libwrap does"],
  ["192.0.2.12", "paranoid", "paranoid", "F5: only the family of the client counts"],
  ["192.0.2.13", "paranoid", "servfail", "a name that cannot be checked is not believed"],
  ["192.0.2.14", "paranoid", "paranoid", "localhost too must lead back"],
  ["192.0.2.15", "dotless", "ok", "a name without a dot may be true"],
  ["192.0.2.16", "unknown", "error", "a leading hyphen makes no host name"],
  ["192.0.2.17", "under_score.example.test", "ok", "an underscore is let through"],
  ["192.0.2.18", long.slice(0, 127), "ok", "a long name is cut, and the rest of it must lead back"],
  ["192.0.2.19", "unknown", "error", "the root is no host"],
  ["192.0.2.20", "unknown", "ok", "a host may be called unknown; to the rules it is"],
  ["2001:db8::1", "six.example.test", "ok", "IPv6 goes by ip6.arpa and AAAA"],
  ["fe80::1%lo", "paranoid", "paranoid", "DNS knows no zones, so a link-local client never leads back"],
  ["localhost", "unknown", "error", "a unix-socket peer has no address to ask about"],
];
for (const [address, name, status, because] of rows) {
  test(`${address} is ${name.slice(0, 40)} (${status}): ${because}`, () =>
    inWorld(zone, async ({ names }) => {
      const found = await names.find(address);
      assert.deepEqual([found.name, found.status], [name, status]);
    }));
}

const hostile: [what: string, name: Name][] = [
  ["a newline", ["evil\nname", "example"]],
  ["an escape code", ["\u001b[2J", "example"]],
  ["a shell substitution", ["$(reboot)", "example"]],
  ["a byte above ASCII", [Uint8Array.of(0xff), "example"]],
  ["a NUL", [Uint8Array.of(0x61, 0, 0x62), "example"]],
  ["a dot inside a label", ["a.b", "example"]],
  ["a blank", ["a b", "example"]],
  ["a percent sign", ["%c", "example"]],
  ["a colon", ["::1", "example"]],
  ["a backslash", ["\\", "example"]],
  ["a quote", ['"', "example"]],
];
for (const [what, name] of hostile) {
  test(`F3, difference 10: a name with ${what} is unknown`, () =>
    inWorld(fromTable({ "66.2.0.192.in-addr.arpa PTR": [ptr(name)] }), async ({ names }) => {
      const found = await names.find("192.0.2.66");
      assert.deepEqual(found, { name: "unknown", status: "error" });
    }));
}

test("F3: a name of 253 bytes is cut to what libwrap keeps, and its rest is checked", () =>
  inWorld(
    fromTable({ "66.2.0.192.in-addr.arpa PTR": [ptr(["a", "b", "c", "d"].map((each) => each.repeat(62)))] }),
    async ({ names, warnings }) => {
      assert.deepEqual(await names.find("192.0.2.66").then(({ name }) => name), "paranoid");
      assert.match(
        warnings.join("\n"),
        /^can't verify hostname: getaddrinfo\(a{62}\.b{62}\.c, AF_INET\) failed$/,
      );
    },
  ));

test("F4: a hundred PTR records are one question forward, about the first", () =>
  inWorld(
    ({ name, type }) => {
      if (type === "PTR") return { records: Array.from({ length: 100 }, (_, n) => ptr(`n${n}.example`)) };
      return type === "A" && name === "n0.example" ? { records: [a("192.0.2.1")] } : { rcode: 3 };
    },
    async ({ names, server }) => {
      assert.equal((await names.find("192.0.2.1")).name, "n0.example");
      assert.deepEqual(
        server.asked.map(({ name, type }) => `${type} ${name}`),
        ["PTR 1.2.0.192.in-addr.arpa", "A n0.example", "CNAME n0.example"],
      );
    },
  ));

test("F4: a CNAME loop on the way to the PTR ends as no name", () =>
  inWorld(
    ({ name }) => ({ records: [{ type: "CNAME", data: name.startsWith("x") ? name.slice(1) : `x${name}` }] }),
    async ({ names }) => {
      assert.equal((await names.find("192.0.2.1")).name, "unknown");
    },
  ));

test("a warning says in libwrap's words why a name is paranoid, once for each search", () =>
  inWorld(zone, async ({ names, warnings }) => {
    for (const last of [2, 2, 3, 7, 9, 12]) await names.find(`192.0.2.${last}`);
    assert.deepEqual(warnings, [
      "host name/address mismatch: 192.0.2.2 != good.example.test",
      "can't verify hostname: getaddrinfo(gone.example.test, AF_INET) failed",
      "host name/name mismatch: reverse lookup results in non-FQDN 1.2.3.4",
      "host name/name mismatch: alias.example.test != real.example.test",
      "can't verify hostname: getaddrinfo(v6only.example.test, AF_INET) failed",
    ]);
  }));

test("F1: a silent server is given up at the limit, and the name is unknown", () =>
  inWorld(
    () => undefined,
    async ({ names }) => {
      const start = performance.now();
      assert.deepEqual(await names.find("192.0.2.1"), { name: "unknown", status: "timeout" });
      const took = performance.now() - start;
      assert.ok(took > 290 && took < 3000, `took ${took} ms`);
    },
    { timeoutMs: 300 },
  ));

test("F1: a name that cannot be checked in time is paranoid, as it is when the check fails", () =>
  inWorld(
    zone,
    async ({ names }) => {
      const { name, status } = await names.find("192.0.2.21");
      assert.deepEqual([name, status], ["paranoid", "timeout"]);
    },
    { timeoutMs: 300 },
  ));

test("F7: the same peer a thousand times is one search", () =>
  inWorld(zone, async ({ names, server }) => {
    const found = await Promise.all(Array.from({ length: 1000 }, () => names.find("192.0.2.1")));
    for (let n = 0; n < 1000; n++) found.push(await names.find("192.0.2.1"));
    assert.deepEqual(new Set(found.map(({ name }) => name)), new Set(["good.example.test"]));
    assert.deepEqual(server.asked.map(({ type }) => type).sort(), ["A", "CNAME", "PTR"]);
  }));

const lifetimes: [answer: string, address: string, ttl: number, staysMs: number][] = [
  ["a name lives as long as the record that confirms it", "192.0.2.1", 20, 20_000],
  ["a name lives five minutes at the most", "192.0.2.1", 86_400, 300_000],
  ["a record of lifetime 0 is asked for once a second at the most", "192.0.2.1", 0, 1000],
  ["no such name is remembered for a minute", "192.0.2.77", 0, 60_000],
  ["a lie is remembered for a minute", "192.0.2.2", 0, 60_000],
  ["a broken server is asked again after two seconds", "192.0.2.4", 0, 2000],
];
for (const [answer, address, ttl, staysMs] of lifetimes) {
  test(`F7: ${answer}`, () =>
    inWorld(
      (question) => {
        if (question.name === "good.example.test" && question.type === "A")
          return { records: [a("192.0.2.1", ttl)] };
        return zone(question);
      },
      async ({ names, server, pass }) => {
        const backwards = (): number => server.asked.filter(({ type }) => type === "PTR").length;
        await names.find(address);
        const first = backwards(); // a broken server may be asked twice
        pass(staysMs - 500);
        await names.find(address);
        assert.equal(backwards(), first, "still remembered");
        pass(500);
        await names.find(address);
        assert.ok(backwards() > first, "asked again");
      },
    ));
}

test("the memory for names is bounded: the one used least recently goes", () =>
  inWorld(
    zone,
    async ({ names, server }) => {
      for (const last of [1, 10, 1, 17, 1, 10]) await names.find(`192.0.2.${last}`);
      const asked = server.asked
        .filter(({ type }) => type === "PTR")
        .map(({ name }) => name.split(".", 1)[0]);
      assert.deepEqual(asked, ["1", "10", "17", "10"]);
    },
    { cacheEntries: 2 },
  ));

test("F6: so many look-ups at once and no more; the rest wait inside their own limit", () =>
  inWorld(
    ({ type }) => ({ rcode: 3, ...(type === "PTR" && { delayMs: 100 }) }),
    async ({ names, server }) => {
      const found = await Promise.all(Array.from({ length: 50 }, (_, n) => names.find(`192.0.2.${n}`)));
      const counts = found.filter(({ status }) => status === "nxdomain").length;
      assert.ok(server.mostAtOnce() <= 10, `${server.mostAtOnce()} at once`);
      assert.ok(counts >= 10 && counts < 50, `${counts} were answered`);
      assert.ok(found.every(({ status }) => status === "nxdomain" || status === "timeout"));
    },
    { maxInFlight: 10, timeoutMs: 250 },
  ));

test("a caller whose signal comes first has no name; the search goes on for the others", () =>
  inWorld(
    (question) => ({ ...zone(question), delayMs: 50 }),
    async ({ names }) => {
      const stop = new AbortController();
      const early = names.find("192.0.2.1", stop.signal);
      const patient = names.find("192.0.2.1", new AbortController().signal);
      stop.abort();
      assert.deepEqual(await early, { name: "unknown", status: "timeout" });
      assert.equal((await patient).name, "good.example.test");
      assert.deepEqual((await names.find("192.0.2.66", AbortSignal.abort())).status, "timeout");
    },
  ));

test("close ends what is under way", () =>
  inWorld(
    () => undefined,
    async ({ names }) => {
      const under = names.find("192.0.2.1");
      setImmediate(() => names.close());
      assert.deepEqual(await under, { name: "unknown", status: "error" });
    },
    { timeoutMs: 60_000 },
  ));

test("a server that is no address is refused at once", () => {
  const options = { timeoutMs: 1, hostsFile: "", maxInFlight: 1, cacheEntries: 1, now: () => 0 };
  assert.throws(() => new ReverseDns({ ...options, servers: ["dns.example"] }), {
    code: "ERR_INVALID_IP_ADDRESS",
  });
});

async function withHosts(
  text: string,
  use: (
    find: (address: string) => Promise<FoundName>,
    write: (text: string) => Promise<void>,
    world: World,
  ) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "hosts-"));
  const hostsFile = join(folder, "hosts");
  writeFileSync(hostsFile, text);
  const write = async (next: string): Promise<void> => {
    writeFileSync(`${hostsFile}.new`, next);
    renameSync(`${hostsFile}.new`, hostsFile);
    await new Promise((resolve) => setImmediate(resolve)); // a connection comes in a later turn
  };
  try {
    await inWorld(zone, (world) => use((address) => world.names.find(address), write, world), { hostsFile });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const hostsRows: [hosts: string, address: string, name: string, because: string][] = [
  [
    "192.0.2.50 Printer.Example printer",
    "192.0.2.50",
    "printer.example",
    "the first name on the line, in lower case",
  ],
  ["192.0.2.50\tprinter # 192.0.2.51 other", "192.0.2.51", "unknown", "a comment is no entry"],
  ["192.0.2.50 one\n192.0.2.50 two", "192.0.2.50", "one", "the first line with the address"],
  ["192.0.2.51 twin\n192.0.2.50 twin", "192.0.2.50", "twin", "a name may have several lines"],
  [
    "192.0.2.51 main twin\n192.0.2.50 twin",
    "192.0.2.50",
    "paranoid",
    "a name that is an alias elsewhere is not canonical",
  ],
  ["192.0.2.1 other.example", "192.0.2.1", "other.example", "the hosts file comes before DNS"],
  [
    "192.0.2.201 good.example.test",
    "192.0.2.1",
    "paranoid",
    "and its addresses for the name that DNS gives count",
  ],
  ["2001:db8::50 six", "2001:db8::50", "six", "IPv6 too"],
  ["192.0.2.50 bad;name", "192.0.2.50", "unknown", "what is no host name is none here either"],
  [
    "::1 localhost ip6-localhost",
    "127.0.0.1",
    "localhost",
    "glibc reads ::1 as 127.0.0.1 where IPv4 is asked for",
  ],
  ["::1 localhost\n", "::1", "localhost", "and as itself"],
  ["::ffff:192.0.2.50 mapped", "192.0.2.50", "mapped", "an IPv4-mapped line is an IPv4 line"],
  [
    "nonsense\n\n192.0.2.50\n192.0.2.50 real",
    "192.0.2.50",
    "real",
    "a line without address or name is no line",
  ],
];
for (const [hosts, address, name, because] of hostsRows) {
  test(`F8: hosts file ${JSON.stringify(hosts)}, ${address} is ${name}: ${because}`, () =>
    withHosts(hosts, async (find) => assert.equal((await find(address)).name, name)));
}

test("F8: an edit of the hosts file counts for the very next question, also for what DNS had answered", () =>
  withHosts("192.0.2.50 before", async (find, write) => {
    assert.equal((await find("192.0.2.50")).name, "before");
    assert.equal((await find("192.0.2.1")).name, "good.example.test");
    await write("192.0.2.50 after\n192.0.2.1 mine");
    assert.equal((await find("192.0.2.50")).name, "after");
    assert.equal((await find("192.0.2.1")).name, "mine");
    await write("");
    assert.equal((await find("192.0.2.50")).name, "unknown");
    assert.equal((await find("192.0.2.1")).name, "good.example.test");
  }));

test("F8: names in the hosts file ask DNS nothing", () =>
  withHosts("192.0.2.50 printer", async (find, _write, { server }) => {
    await find("192.0.2.50");
    assert.deepEqual(server.asked, []);
  }));

for (const [what, make] of [
  ["a loop of links", (path: string) => symlinkSync(path, path)],
  ["a folder", (path: string) => mkdirSync(path)],
  ["missing", () => undefined],
] as const) {
  test(`F8: a hosts file that is ${what} reads as empty`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "hosts-"));
    const hostsFile = join(folder, "hosts");
    make(hostsFile);
    const check = async ({ names }: World): Promise<void> =>
      assert.equal((await names.find("192.0.2.1")).name, "good.example.test");
    await inWorld(zone, check, { hostsFile }).finally(() => rmSync(folder, { recursive: true }));
  });
}
