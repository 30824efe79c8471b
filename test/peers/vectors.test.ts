/** The recorded verdicts once more, from the libwrap that is installed here: the record that we are held to is still its own. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { Libwrap } from "../libwrap/libwrap.ts";

interface Vector {
  readonly id: string;
  readonly allow: string | null;
  readonly deny: string | null;
  readonly daemon: string | null;
  readonly clientName: string | null;
  readonly clientAddr: string | null;
  readonly user: string | null;
  readonly serverName: string | null;
  readonly serverAddr: string | null;
  readonly serverPort?: number;
  readonly files?: Readonly<Record<string, string | null>>;
  readonly netgroup?: string;
  readonly result: string;
  readonly matched: string | null;
}

/** What cannot be asked again: it needs another /etc, would end the program that asks, or change it for those behind. */
const LEFT_OUT: readonly [because: string, is: (vector: Vector) => boolean][] = [
  ["need an /etc/netgroup of their own", ({ netgroup }) => netgroup !== undefined],
  ["end or replace the program", ({ result }) => result !== "granted" && result !== "denied"],
  [
    "run commands, or change the program",
    ({ allow, deny }) => /\b(spawn|twist|aclexec|banners|nice|rfc931)\b/i.test(`${allow ?? ""}${deny ?? ""}`),
  ],
];

const vectors = JSON.parse(readFileSync("test/tables/libwrap-vectors.json", "utf8")) as Vector[];
const libwrap = new Libwrap();
after(() => libwrap.close());

test("libwrap says today what was recorded of it", async (t) => {
  const askable = vectors.filter((vector) => !LEFT_OUT.some(([, is]) => is(vector)));
  const lists = join(libwrap.folder, "lists");
  const inFolder = (text: string): string => text.replaceAll("/etc/hostlists", lists);
  const differing: string[] = [];
  for (const vector of askable) {
    for (const path of [libwrap.allow, libwrap.deny, lists]) rmSync(path, { recursive: true, force: true });
    const tables = { [libwrap.allow]: vector.allow, [libwrap.deny]: vector.deny, ...vector.files };
    for (const [path, text] of Object.entries(tables)) {
      if (text !== null) libwrap.write({ [inFolder(path)]: inFolder(text) });
      else if (path.endsWith("/")) mkdirSync(inFolder(path), { recursive: true });
    }
    const [answer] = await libwrap.ask([
      {
        daemon: vector.daemon ?? "unknown",
        clientName: vector.clientName ?? "unknown",
        clientAddr: vector.clientAddr ?? "unknown",
        user: vector.user ?? "unknown",
        serverName: vector.serverName ?? "unknown",
        serverAddr: vector.serverAddr ?? "unknown",
        serverPort: vector.serverPort ?? 0,
      },
    ]);
    const matched = answer?.matched.replace(`${libwrap.folder}/`, "");
    const today = `${answer?.verdict} ${matched}`;
    const recorded = `${vector.result} ${vector.matched ?? "-"}`;
    if (today !== recorded) differing.push(`${vector.id}: recorded ${recorded}, today ${today}`);
  }
  t.diagnostic(
    `${askable.length} of ${vectors.length} vectors asked of libwrap again, ${differing.length} differ`,
  );
  for (const [because, is] of LEFT_OUT)
    t.diagnostic(`${vectors.filter(is).length} left out, as they ${because}`);
  assert.deepEqual(differing, []);
  assert.ok(askable.length > 500);
});
