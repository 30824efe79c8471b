import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { sendBanner } from "../../src/act/banners.ts";
import type { BannerOutcome } from "../../src/act/banners.ts";
import { fileName } from "../../src/access/text.ts";
import type { Fact, Request } from "../../src/access/types.ts";
import { connectPair, readToEnd } from "../support/pair.ts";
import { scratchFolder } from "../support/scratch.ts";

const request: Request = {
  daemon: "sshd",
  client: { address: "192.0.2.1", port: 4711 },
  server: { address: "192.0.2.9", port: 22 },
};

async function send(
  t: TestContext,
  directory: string,
  more: { daemon?: string; maxBytes?: number; asked?: Fact[] } = {},
): Promise<{ outcome: BannerOutcome; text: string; warnings: string[] }> {
  const { accepted, client } = await connectPair(t);
  const seen = readToEnd(client);
  const warnings: string[] = [];
  const outcome = await sendBanner(
    {
      directory,
      request: { ...request, daemon: more.daemon ?? "sshd" },
      findFact: async (fact, known) => {
        more.asked?.push(fact);
        return { ...known, user: "b b", client: { ...known.client, name: "host.example" } };
      },
      maxBytes: more.maxBytes ?? 65_536,
      timeoutMs: 5000,
      warn: (message) => warnings.push(message),
    },
    accepted,
  );
  accepted.end();
  return { outcome, text: (await seen).text, warnings };
}

const rows: [file: string, text: string, because: string][] = [
  ["", "", "an empty file sends nothing"],
  ["hello\n", "hello\r\n", "LF becomes CR LF"],
  ["hello", "hello", "a last line without LF gets none"],
  ["hello\r\n", "hello\r\r\n", "a CR that is there stays"],
  ["a\n\nb\n", "a\r\n\r\nb\r\n", "empty lines are lines"],
  ["\n", "\r\n", "an empty line alone is one"],
  ["\0\0a\n", "\0\0a\r\n", "NUL bytes at the start are sent as they are"],
  ["\0", "\0", "NUL bytes alone too"],
  ["a\0b\nc\n", "ac\r\n", "what follows a NUL in a line is lost, its LF too"],
  ["\xe4\xff %d\n", "\xe4\xff sshd\r\n", "bytes above 127 pass unchanged"],
  ["%a %p %%\n", "192.0.2.1 0 %\r\n", "expansions are done"],
  ["%\n", "\n", "a % at the end takes the CR with it, as in libwrap: CR LF is there before the expansion"],
  ["hello %u@%n\n", "hello b_b@host.example\r\n", "what a line names is looked up, and made harmless"],
  [
    "%h %n %h\n",
    "192.0.2.1 host.example host.example\r\n",
    "what stands before a look-up does not have its answer",
  ],
  ["`$(reboot)`\n", "`$(reboot)`\r\n", "the text of the file is left as it is"],
];
for (const [file, text, because] of rows)
  test(`banner ${JSON.stringify(file)}: ${because}`, async (t) => {
    const folder = scratchFolder(t);
    writeFileSync(join(folder, "sshd"), file, "latin1");
    const sent = await send(t, folder);
    assert.deepEqual([sent.outcome, sent.text], ["sent", text]);
  });

test("banner: a line that names nothing new asks for nothing; a fact is asked for once", async (t) => {
  const folder = scratchFolder(t);
  const asked: Fact[] = [];
  writeFileSync(join(folder, "sshd"), "%a %h\n");
  await send(t, folder, { asked });
  assert.deepEqual(asked, []);
  writeFileSync(join(folder, "sshd"), "%u %u\n%u\n");
  await send(t, folder, { asked });
  assert.deepEqual(asked, [{ kind: "user" }]);
});

test("banner: an unknown expansion becomes nothing, with a warning", async (t) => {
  const folder = scratchFolder(t);
  writeFileSync(join(folder, "sshd"), "a%zb\n");
  assert.deepEqual(await send(t, folder), {
    outcome: "sent",
    text: "ab\r\n",
    warnings: ["banners: unrecognized %z"],
  });
});

test("banner: no file for the daemon is silent", async (t) => {
  assert.deepEqual(await send(t, scratchFolder(t)), { outcome: "none", text: "", warnings: [] });
});

test("banner: a directory that is not there warns", async (t) => {
  const { outcome, warnings } = await send(t, "/no/such");
  assert.deepEqual([outcome, warnings], ["none", ["banners: /no/such: No such file or directory"]]);
});

test("banner: the path of its directory may be any bytes", async (t) => {
  const folder = Buffer.from(join(scratchFolder(t), "b\xe4"), "latin1");
  mkdirSync(folder);
  writeFileSync(Buffer.concat([folder, Buffer.from("/sshd")]), "hello\n");
  assert.equal((await send(t, fileName(folder.toString("latin1")))).text, "hello\r\n");
  const { warnings } = await send(t, fileName("/no/such\xe4"));
  assert.deepEqual(warnings, ["banners: /no/such\ufffd: No such file or directory"]);
});

test("banner: a daemon name with a slash leads nowhere", async (t) => {
  const { outcome, warnings } = await send(t, "/etc/security", { daemon: "../passwd" });
  assert.deepEqual([outcome, warnings], ["none", ['banners: "../passwd" is no file name']]);
});

const notFiles: [what: string, make: (path: string) => void][] = [
  ["a directory", (path) => mkdirSync(path)],
  ["a FIFO", (path) => spawnSync("mkfifo", [path])],
  ["a device", (path) => symlinkSync("/dev/zero", path)],
];
for (const [what, make] of notFiles)
  test(`banner: ${what} in the file's place warns and holds nobody`, async (t) => {
    const folder = scratchFolder(t);
    make(join(folder, "sshd"));
    const { outcome, warnings } = await send(t, folder);
    assert.equal(outcome, "none");
    assert.match(warnings.join(), /banners: .*sshd: not a file/);
  });

test(
  "banner: a file that may not be read warns",
  { skip: process.getuid?.() === 0 ? "root may read all" : false },
  async (t) => {
    const folder = scratchFolder(t);
    writeFileSync(join(folder, "sshd"), "x");
    chmodSync(join(folder, "sshd"), 0);
    const { outcome, warnings } = await send(t, folder);
    assert.equal(outcome, "none");
    assert.match(warnings.join(), /^banners: \/.*\/sshd: Permission denied$/);
  },
);

test("banner: a file that is too long is cut at a line's end", async (t) => {
  const folder = scratchFolder(t);
  writeFileSync(join(folder, "sshd"), "12345\n".repeat(10));
  const sent = await send(t, folder, { maxBytes: 20 });
  assert.equal(sent.text, "12345\r\n".repeat(3));
  assert.match(sent.warnings.join(), /longer than 20 bytes, cut$/);
  assert.equal(
    (await send(t, folder, { maxBytes: 60 })).text,
    "12345\r\n".repeat(10),
    "exactly as long is not too long",
  );
});

test("banner: a line may be longer than an option: as long as libwrap sends, CR LF counted, and no longer", async (t) => {
  const folder = scratchFolder(t);
  const addresses = "%a".repeat(1820);
  for (const [rest, outcome, length] of [
    ["", "sent", 16_382],
    ["x", "too_long", 0],
  ] as const) {
    writeFileSync(join(folder, "sshd"), `${addresses}${rest}\n`);
    const sent = await send(t, folder);
    assert.deepEqual([sent.outcome, sent.text.length], [outcome, length]);
  }
});

test("banner: an expansion that grows too long is told, and nothing is sent", async (t) => {
  const folder = scratchFolder(t);
  writeFileSync(join(folder, "sshd"), `first\n${"%a".repeat(2000)}\n`);
  const { outcome, text, warnings } = await send(t, folder);
  assert.deepEqual([outcome, text], ["too_long", ""]);
  assert.match(warnings.join(), /^banners: expansion too long: /);
});
