/** Who else can change a file that decisions rest on: every step of the way counts, as for sshd's StrictModes. */
import assert from "node:assert/strict";
import { chmodSync, chownSync, lchownSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { findWriters } from "../../src/config/writers.ts";
import { scratchFolder } from "../support/scratch.ts";

const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : "only root can give files away; run this test as root";

/** FOLDER/in/table, and FOLDER/link that leads to it by FOLDER/in/other. */
const rows: [
  because: string,
  change: (folder: string) => void,
  path: string,
  found: string[],
  needsRoot?: true,
][] = [
  ["files of root or of our own say nothing", () => {}, "link", []],
  ["a table", (at) => chmodSync(join(at, "in/table"), 0o666), "in/table", ["world-writable /in/table"]],
  ["a group's", (at) => chmodSync(join(at, "in/table"), 0o664), "in/table", ["group-writable /in/table"]],
  ["its folder", (at) => chmodSync(join(at, "in"), 0o777), "in/table", ["world-writable /in"]],
  ["a group's folder", (at) => chmodSync(join(at, "in"), 0o2775), "in/table", ["group-writable /in"]],
  [
    "what a link leads to",
    (at) => chmodSync(join(at, "in/table"), 0o666),
    "link",
    ["world-writable /in/table"],
  ],
  ["the folder of the second link", (at) => chmodSync(join(at, "in"), 0o777), "link", ["world-writable /in"]],
  ["a sticky folder, where nobody replaces it", (at) => chmodSync(join(at, "in"), 0o1777), "in/table", []],
  [
    "a sticky folder, where anybody can put what is not there",
    (at) => {
      chmodSync(join(at, "in"), 0o1777);
      rmSync(join(at, "in/table"));
    },
    "in/table",
    ["world-writable /in"],
  ],
  ["a way with dots", (at) => chmodSync(join(at, "in"), 0o777), "in/../in/./table", ["world-writable /in"]],
  ["a link to itself has an end", (at) => symlinkSync("loop", join(at, "loop")), "loop", []],
  [
    "somebody else's",
    (at) => chownSync(join(at, "in/table"), 4711, 0),
    "in/table",
    ["foreign-owner /in/table"],
    true,
  ],
  ["a folder of theirs", (at) => chownSync(join(at, "in"), 4711, 0), "in/table", ["foreign-owner /in"], true],
  ["a link of theirs", (at) => lchownSync(join(at, "link"), 4711, 0), "link", ["foreign-owner /link"], true],
  ["that user is trusted", (at) => chownSync(join(at, "in/table"), 4712, 0), "in/table", [], true],
];
for (const [because, change, path, found, needsRoot = false] of rows)
  test(`L2: a table that others can write: ${because}`, { skip: needsRoot && skip }, (t) => {
    const folder = scratchFolder(t);
    mkdirSync(join(folder, "in"));
    writeFileSync(join(folder, "in/table"), "sshd: 10.\n");
    symlinkSync(join(folder, "in/other"), join(folder, "link"));
    symlinkSync("table", join(folder, "in/other"));
    change(folder);
    const remarks = findWriters([`${folder}/${path}`, "inline"], 4712);
    const said = remarks.map(({ code, message }) => `${code} ${/"(.*)"/.exec(message)?.[1]}`);
    assert.deepEqual(
      said.map((each) => each.replace(folder, "")),
      found,
    );
    for (const remark of remarks) assert.equal(remark.file, `${folder}/${path}`);
  });
