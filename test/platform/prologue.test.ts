import assert from "node:assert/strict";
import { test } from "node:test";
import { prologue } from "../../src/platform/prologue.ts";
import type { Settings, Start, Tools } from "../../src/platform/prologue.ts";

const limit = "ulimit -S -n 1024 2>/dev/null";
const all: Tools = { nice: "/bin/nice", setpriv: "/bin/setpriv" };
const bob = { uid: 7, gid: 8, groups: [8, 9], needsRoot: true };
const group = { gid: 8, groups: [], needsRoot: true };

/** The program is `/bin/p "a b"` throughout. */
const rows: [
  settings: Settings,
  tools: Tools,
  isRoot: boolean,
  shell: string,
  chain: string,
  ids: Partial<Start>,
  because: string,
][] = [
  [{}, all, true, limit, "", {}, "a program gets the kernel's limit back"],
  [{ umask: 0o22 }, all, true, `${limit}; umask 0022`, "", {}, "umask"],
  [{ umask: 0 }, all, true, `${limit}; umask 0000`, "", {}, "umask 0 is one"],
  [
    { ignoresHangup: true, umask: 0o77 },
    all,
    true,
    `${limit}; trap '' HUP; umask 0077`,
    "",
    {},
    "SIGHUP ignored, and umask",
  ],
  [{ nice: 10 }, all, true, limit, "/bin/nice -n 10", {}, "nice"],
  [
    { nice: 10 },
    {},
    true,
    limit,
    "",
    {},
    "no nice(1): the program runs without, as when the kernel does not allow it",
  ],
  [
    { identity: bob },
    all,
    true,
    limit,
    "/bin/setpriv --reuid=7 --regid=8 --groups=8,9 --",
    {},
    "root becomes the user, with its groups",
  ],
  [
    { identity: group },
    all,
    true,
    limit,
    "/bin/setpriv --regid=8 --clear-groups --",
    {},
    "root changes the group alone",
  ],
  [
    { identity: bob, nice: -5 },
    all,
    true,
    limit,
    "/bin/nice -n -5 /bin/setpriv --reuid=7 --regid=8 --groups=8,9 --",
    {},
    "nice while it is still allowed, whatever the order in the rule",
  ],
  [
    { identity: bob },
    {},
    true,
    limit,
    "",
    { uid: 7, gid: 8 },
    "no setpriv(1): Node sets the ids, without groups",
  ],
  [
    { identity: bob },
    all,
    false,
    limit,
    "",
    { uid: 7, gid: 8 },
    "not root: Node tries, and the kernel answers",
  ],
  [{ identity: { ...bob, needsRoot: false } }, all, false, limit, "", {}, "who we are already needs nothing"],
];
for (const [settings, tools, isRoot, shell, chain, ids, because] of rows)
  test(`prologue of ${JSON.stringify(settings)}: ${because}`, () => {
    const before = [
      "/bin/sh",
      "-c",
      `${shell}; exec "$@"`,
      "sh",
      ...chain.split(" ").filter((word) => word !== ""),
    ];
    assert.deepEqual(prologue(["/bin/p", "a b"], settings, tools, isRoot), {
      argv: [...before, "/bin/p", "a b"],
      ...ids,
    });
  });
