/**
 * Asks libwrap and us for the name of the same addresses, with the same DNS and hosts file, and prints where we differ.
 *
 * Runs in a network and mount namespace of its own: port 53 of 127.0.0.1 and /etc/resolv.conf, /etc/hosts are the test's.
 * Arguments: the program built from dns-libwrap.c. Prints one JSON object.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { ReverseDns } from "../../src/identify/reverse-dns.ts";
import type { DnsRecord, Name, Reply } from "./dns-server.ts";
import { startDns } from "./dns-server.ts";

const ptr = (data: Name): DnsRecord => ({ type: "PTR", data });

/** What a PTR question is answered with; `name` is the name that the forward variant belongs to. */
const backwards: readonly (readonly [what: string, answer: (name: string) => Reply | undefined])[] = [
  ["a name", (name) => ({ records: [ptr(name)] })],
  ["upper case", (name) => ({ records: [ptr(name.toUpperCase())] })],
  ["two names", (name) => ({ records: [ptr(name), ptr("other.example")] })],
  ["two names, ours second", (name) => ({ records: [ptr("other.example"), ptr(name)] })],
  [
    "eight names",
    (name) => ({ records: [ptr(name), ..."1234567".split("").map((n) => ptr(`o${n}.example`))] }),
  ],
  [
    "an alias on the way",
    (name) => ({
      records: [
        { type: "CNAME", data: "x.arpa" },
        { ...ptr(name), owner: "x.arpa" },
      ],
    }),
  ],
  ["a good name and a bad one", (name) => ({ records: [ptr(name), ptr(["a b", "example"])] })],
  ["a bad name and a good one", (name) => ({ records: [ptr(["a b", "example"]), ptr(name)] })],
];

/** Names that are what they are: they have one forward answer each, the address that was asked for. */
const fixedNames: readonly (readonly [what: string, name: Name])[] = [
  ["an underscore", ["under_score", "example"]],
  ["a leading underscore", ["_under", "example"]],
  ["a leading hyphen", ["-dash", "example"]],
  ["an inner leading hyphen", ["in", "-dash", "example"]],
  ["a final hyphen", ["dash-", "example"]],
  ["no dot", ["dotless"]],
  ["a number of four parts", ["1", "2", "3", "4"]],
  ["a number of three parts", ["1", "2", "3"]],
  ["a number", ["10"]],
  ["an octal number", ["010", "1"]],
  ["a hexadecimal number", ["0x7f", "1"]],
  ["five numbers", ["1", "2", "3", "4", "5"]],
  ["a number too large for a part", ["256", "1"]],
  ["a last part that is a word", ["1", "2", "3", "x"]],
  ["127 bytes", ["a".repeat(60), "b".repeat(58), "example"]],
  ["128 bytes", ["c".repeat(60), "d".repeat(59), "example"]],
  ["253 bytes", ["e".repeat(61), "f".repeat(61), "g".repeat(61), "h".repeat(59), "example"]],
  ["a newline", ["a\nb", "example"]],
  ["a byte above ASCII", [Uint8Array.of(0xff), "example"]],
  ["a NUL", [Uint8Array.of(0x61, 0), "example"]],
  ["a dot inside a label", ["a.b", "example"]],
  ["a blank", ["a c", "example"]],
  ["a shell substitution", ["$(x)", "example"]],
  ["an escape code", ["\u001b[2J", "example"]],
  ["a percent sign", ["%c", "example"]],
  ["a slash", ["a/b", "example"]],
  ["a star", ["*", "example"]],
  ["the root", []],
  ["unknown", ["unknown"]],
  ["paranoid", ["paranoid"]],
  ["localhost", ["localhost"]],
];

/** What a PTR question is answered with when there is no name to look forward for. */
const nameless: readonly (readonly [what: string, reply: Reply])[] = [
  ["NXDOMAIN", { rcode: 3 }],
  ["SERVFAIL", { rcode: 2 }],
  ["REFUSED", { rcode: 5 }],
  ["nothing", { records: [] }],
  ["a record of another type", { records: [{ type: "A", data: "192.0.2.1" }] }],
  [
    "an alias to itself",
    {
      records: [
        { type: "CNAME", data: "loop.arpa" },
        { type: "CNAME", owner: "loop.arpa", data: "loop.arpa" },
      ],
    },
  ],
];

/** What the forward question is answered with, in the family of the address and in the other one. */
const forwards: readonly (readonly [
  what: string,
  answer: (record: DnsRecord, others: readonly DnsRecord[]) => Reply,
  other?: true,
])[] = [
  ["the address", (record) => ({ records: [record] })],
  ["the address last of three", (record, others) => ({ records: [...others.slice(0, 2), record] })],
  ["the address first of eight", (record, others) => ({ records: [record, ...others.slice(0, 7)] })],
  ["another address", (_, others) => ({ records: others.slice(0, 1) })],
  ["NXDOMAIN", () => ({ rcode: 3 })],
  ["nothing", () => ({ records: [] })],
  ["SERVFAIL", () => ({ rcode: 2 })],
  ["REFUSED", () => ({ rcode: 5 })],
  [
    "an alias",
    (record) => ({
      records: [
        { type: "CNAME", data: "real.example" },
        { ...record, owner: "real.example" },
      ],
    }),
  ],
  [
    "two aliases",
    (record) => ({
      records: [
        { type: "CNAME", data: "mid.example" },
        { type: "CNAME", owner: "mid.example", data: "real.example" },
        { ...record, owner: "real.example" },
      ],
    }),
  ],
  ["an alias and no address", () => ({ records: [{ type: "CNAME", data: "real.example" }] })],
  ["the other family only", () => ({ records: [] }), true],
];

interface Question {
  readonly address: string;
  readonly what: string;
}

const questions: Question[] = [];
const answers = new Map<string, Reply>();
let serial = 0;

for (const family of [4, 6] as const) {
  for (const [what, answer] of backwards) {
    for (const [forwardWhat, forward, other] of forwards) {
      const { address, record, others } = fresh(family);
      const name = `h${serial}.example`;
      add(family, address, `${what}; forward ${forwardWhat}`, answer(name));
      answers.set(`${name} ${record.type}`, forward(record, others));
      const [first] = forward(record, others).records ?? [];
      if (first?.type === "CNAME") answers.set(`${name} CNAME`, { records: [first] });
      if (other === true)
        answers.set(`${name} ${family === 4 ? "AAAA" : "A"}`, { records: others.slice(0, 1) });
    }
  }
  for (const [what, name] of fixedNames) {
    const { address, record } = fresh(family);
    add(family, address, what, { records: [ptr(name)] });
    const text = (typeof name === "string" ? [name] : name)
      .map((label) => Buffer.from(label).toString("latin1"))
      .join(".");
    for (const cut of [text, text.slice(0, 127)]) answers.set(`${cut} ${record.type}`, { records: [record] });
  }
  for (const [what, reply] of nameless) add(family, fresh(family).address, what, reply);
}
for (const address of ["::ffff:10.0.0.1", "::ffff:10.0.0.2", "fe80::1%lo", "127.0.0.1", "::1", "127.0.0.9"]) {
  questions.push({ address, what: "local" });
}
answers.set(`1.${"0.".repeat(28)}8.e.f.ip6.arpa PTR`, { records: [ptr("link.example")] });
answers.set("link.example AAAA", { records: [{ type: "AAAA", data: "fe80::1" }] });
for (const line of readFileSync("/etc/hosts", "utf8").split("\n")) {
  const [address = ""] = line.replace(/#.*/, "").trim().split(/\s+/);
  if (/^[0-9a-f:.]+$/.test(address)) questions.push({ address, what: `hosts: ${line}` });
}

const server = await startDns(({ name, type }) => answers.get(`${name} ${type}`) ?? { rcode: 3 }, 53);
const names = new ReverseDns({
  timeoutMs: 10_000,
  servers: [],
  hostsFile: "/etc/hosts",
  maxInFlight: 100,
  cacheEntries: 10_000,
  now: () => performance.now(),
});
const libwrap = spawn(process.argv[2] ?? "", { stdio: ["pipe", "pipe", "ignore"] });
libwrap.stdin.end(questions.map(({ address }) => `${address}\n`).join(""));
const theirs: string[] = [];
for await (const line of createInterface({ input: libwrap.stdout })) theirs.push(line.split("\t")[1] ?? "");
const [status] = libwrap.exitCode === null ? await once(libwrap, "exit") : [libwrap.exitCode];
const differences: object[] = [];
const counts: Record<string, number> = {};
for (const [at, { address, what }] of questions.entries()) {
  const { name, status } = await names.find(address);
  const their = theirs[at] ?? "missing";
  const kind = name === "unknown" || name === "paranoid" ? name : "a name";
  counts[kind] = (counts[kind] ?? 0) + 1;
  // Declared: names are canonical (lower case, no final dot), and those with other bytes are unknown.
  const bare = their.toLowerCase().replace(/\.$/, "");
  const declared = /^[a-z0-9._-]+$/.test(bare) ? bare : "unknown";
  if (name !== declared) differences.push({ address, what, libwrap: their, ours: name, status });
}
names.close();
await server.close();
process.stdout.write(JSON.stringify({ compared: questions.length, status, counts, differences }));

function fresh(family: 4 | 6): { address: string; record: DnsRecord; others: DnsRecord[] } {
  serial++;
  const address = family === 4 ? `10.0.${serial >> 8}.${serial & 255}` : `2001:db8::${serial.toString(16)}`;
  const type = family === 4 ? "A" : "AAAA";
  const others = Array.from({ length: 9 }, (_, n): DnsRecord => ({
    type,
    data: family === 4 ? `10.9.9.${n}` : `fd09::${n + 1}`,
  }));
  return { address, record: { type, data: address }, others };
}

function add(family: 4 | 6, address: string, what: string, reply: Reply | undefined): void {
  questions.push({ address, what: `IPv${family}: ${what}` });
  const question =
    family === 4
      ? `${address.split(".").reverse().join(".")}.in-addr.arpa`
      : `${address.slice("2001:db8::".length).padStart(24, "0").split("").reverse().join(".")}.8.b.d.0.1.0.0.2.ip6.arpa`;
  if (reply !== undefined) answers.set(`${question} PTR`, reply);
}
