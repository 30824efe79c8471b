/** Netgroups, next to the real library in an /etc and a NIS domain of its own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { isInNetgroup, parseNetgroups } from "../../src/access/netgroup.ts";
import { Libwrap } from "../libwrap/libwrap.ts";
import { fuzzSeed } from "../support/fuzz-seed.ts";

const question = {
  daemon: "sshd",
  clientName: "a.test",
  clientAddr: "192.0.2.1",
  user: "bob",
  serverName: "unknown",
  serverAddr: "198.51.100.1",
  serverPort: 22,
};

const inDomain = 'echo "$1" >/proc/sys/kernel/domainname; shift; exec "$@"';

/** Whether libwrap finds the client in group `g` of a text. */
class Asker {
  readonly #libwrap: Libwrap;

  constructor(domain: string) {
    this.#libwrap = new Libwrap(1, (folder) => {
      mkdirSync(join(folder, "etc"));
      writeFileSync(join(folder, "etc/nsswitch.conf"), "netgroup: files\n");
      const script = `mount --bind ${folder}/etc /etc; ${inDomain}`;
      return ["unshare", "-m", "-u", "--propagation", "private", "sh", "-ec", script, "sh", domain];
    });
    this.#libwrap.write({
      [this.#libwrap.allow]: "sshd: @g\n",
      [this.#libwrap.deny]: "ALL: ALL\n",
    });
  }

  async isIn(text: string): Promise<boolean> {
    this.#libwrap.write({ [this.#libwrap.path("etc/netgroup")]: Buffer.from(text, "latin1") });
    const [answer] = await this.#libwrap.ask([question]);
    return answer?.verdict === "granted";
  }

  async close(): Promise<void> {
    await this.#libwrap.close();
  }
}

const piece = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("(a.test,,)", "(b.test,,)", "\ng ", "\nh ", " g ", " h ", " ") },
  fc.constantFrom("(a.test,,home)", "(A.TEST,x,other)", "(,bob,)", "(-,-,-)", "( a.test x , , HOME )"),
  fc.constantFrom(
    "(",
    ")",
    ",",
    "g",
    "h",
    "i(a.test,,)",
    "\ng",
    "\nh",
    "#",
    "\\\n",
    "\n",
    "\t",
    "\v",
    "\xa0",
    "\xe4",
  ),
);
const texts = fc.array(piece, { minLength: 1, maxLength: 10 }).map((pieces) => `g ${pieces.join("")}\n`);

for (const [domain, called] of [
  ["(none)", undefined],
  ["home", "home"],
  ["", ""],
] as const)
  test(`a netgroup in the NIS domain "${domain}" has the members that libwrap finds in it`, async (t) => {
    const asker = new Asker(domain);
    t.after(() => asker.close());
    let found = 0;
    const property = fc.asyncProperty(texts, async (text) => {
      const theirs = await asker.isIn(text);
      found += Number(theirs);
      assert.equal(isInNetgroup(parseNetgroups(text, called), "g", "a.test"), theirs);
    });
    await fc.assert(property, { numRuns: 2000, seed: fuzzSeed });
    assert.ok(found > 100 && found < 1900, `both answers are well represented: ${found}`);
  });

test("our NIS domain is the kernel's", () => {
  const program = `import("./src/platform/nis-domain.ts").then(({ nisDomain }) => console.log(nisDomain()))`;
  for (const [domain, said] of [
    ["(none)", "undefined"],
    ["home", "home"],
  ] as const) {
    const node = [process.execPath, "--import", "tsx", "-e", program];
    const { stdout } = spawnSync("unshare", ["-u", "sh", "-ec", inDomain, "sh", domain, ...node], {
      cwd: join(import.meta.dirname, "../.."),
      encoding: "utf8",
    });
    assert.equal(stdout, `${said}\n`);
  }
});
