import assert from "node:assert/strict";
import { test } from "node:test";
import { quietNeededMs, type Reading, settleMs } from "../../src/config/settle.ts";

interface Times {
  readonly inode?: number;
  readonly modified?: number;
  readonly changed?: number;
}

const file = (text: string, { inode = 1, modified = 10, changed = modified }: Times = {}): Reading => ({
  bytes: new TextEncoder().encode(text),
  state: {
    device: 1,
    inode,
    size: text.length,
    modifiedMs: modified,
    changedMs: changed,
    isFile: true,
  },
});
const gone: Reading = { bytes: new Uint8Array(), state: "missing" };
const old = file("sshd: ALL\nftpd: ALL\n");

const rows: [because: string, before: Reading | undefined, after: Reading, needed: number][] = [
  ["what is there at start counts at once", undefined, file(""), settleMs.complete],
  [
    "a line added at the end is whole",
    old,
    file("sshd: ALL\nftpd: ALL\nALL: 192.0.2.1\n"),
    settleMs.complete,
  ],
  ["a touch changes nothing", old, file("sshd: ALL\nftpd: ALL\n", { modified: 20 }), settleMs.complete],
  ["half a line added is not", old, file("sshd: ALL\nftpd: ALL\nALL: 192.0"), settleMs.unfinished],
  ["a line that goes on is not", old, file("sshd: ALL\nftpd: ALL\nALL: 192.0.2.1 \\\n"), settleMs.unfinished],
  ["truncated to nothing: the text is still to come", old, file(""), settleMs.unfinished],
  ["truncated, and the first line is back", old, file("sshd: ALL\n"), settleMs.unfinished],
  ["other lines in the same file", old, file("ALL: LOCAL\n"), settleMs.rewritten],
  [
    "renamed over it: nothing was written since",
    old,
    file("ALL: LOCAL\n", { inode: 2, changed: 11 }),
    settleMs.complete,
  ],
  ["renamed within a tick of the last write", old, file("ALL: LOCAL\n", { inode: 2 }), settleMs.replaced],
  ["a new empty file in its place", old, file("", { inode: 2, changed: 11 }), settleMs.unfinished],
  ["gone", old, gone, settleMs.unfinished],
  ["back again", gone, file("ALL: LOCAL\n", { inode: 2 }), settleMs.replaced],
];
for (const [because, before, after, needed] of rows) {
  test(`settle: ${because}`, () => assert.equal(quietNeededMs(before, after), needed));
}
