/** What can be said about the files that a decision depends on: who may write to them, and what they name that is not there. */

import { type Stats, statSync } from "node:fs";
import { resolve } from "node:path";
import { writtenOptions } from "../access/option-text.ts";
import type { Table } from "../access/tables.ts";
import { fileName, readable } from "../access/text.ts";
import type { Diagnostic } from "../access/types.ts";
import { look } from "../config/files.ts";
import { findWriters } from "../config/writers.ts";
import { findIdentity, type Identity } from "../platform/identity.ts";
import { systemPath } from "../platform/paths.ts";
import { isExecutable, remark } from "./check-configuration.ts";

/** What `check` has read. */
export interface CheckedFiles {
  readonly tables: readonly Table[];
  /** Tables that somebody has named, in the configuration or by a flag. */
  readonly named: ReadonlySet<string>;
  /** Every file that a decision depends on, tables first. */
  readonly paths: readonly string[];
  readonly config: string | undefined;
  /** `process.user`, where there is one. */
  readonly user: string | undefined;
}

/** Remarks on the files. Never rejects. */
export async function checkFiles(files: CheckedFiles): Promise<Diagnostic[]> {
  const { tables, named, paths, config, user } = files;
  const identity = user === undefined ? undefined : await findIdentity({ user }).catch(() => undefined);
  const dependsOn = [...paths, ...(config === undefined ? [] : [resolve(config)])];
  return [
    ...tables.flatMap((table) => [
      ...tableMissing(table.file, named.has(table.file)),
      ...unreadableFor(table.file, user, identity),
      ...thingsMissing(table),
    ]),
    ...findWriters(dependsOn, identity?.uid),
  ];
}

function tableMissing(file: string, isNamed: boolean): Diagnostic[] {
  // What is there and cannot be looked at is told by who reads it.
  if (!isNamed || !file.startsWith("/") || look(file) !== "missing") return [];
  const message = `there is no file "${file}"; it counts as an empty table`;
  return [remark("table-missing", { file, line: 0 }, message)];
}

function unreadableFor(file: string, user: string | undefined, identity: Identity | undefined): Diagnostic[] {
  const found = statOf(file);
  if (found === undefined || user === undefined || identity === undefined || identity.uid === 0) return [];
  const { mode, uid, gid } = found;
  const mayRead =
    uid === identity.uid
      ? (mode & 0o400) !== 0
      : gid === identity.gid || identity.groups.includes(gid)
        ? (mode & 0o040) !== 0
        : (mode & 0o004) !== 0;
  if (mayRead) return [];
  const message = `the user "${user}" (process.user) cannot read "${file}"`;
  return [
    remark("unreadable-for-user", { file, line: 0 }, message, `chgrp or chmod it, as by chmod o+r ${file}`),
  ];
}

/** Banners and programs that rules name. */
function thingsMissing({ file, rules }: Table): Diagnostic[] {
  const found: Diagnostic[] = [];
  const asked = new Map<string, boolean>();
  const once = (path: string, isThere: (path: string) => boolean): boolean => {
    const known = asked.get(path) ?? isThere(path);
    asked.set(path, known);
    return known;
  };
  for (let index = 0; index < rules.length; index++) {
    const { options, line = 0 } = rules.matched(index) ?? {};
    if (options === undefined) continue;
    for (const { keyword, value } of writtenOptions(options).written) {
      if (keyword === "banners" && value.startsWith("/") && !once(value, isDirectory)) {
        found.push(remark("banners-missing", { file, line }, `there is no directory "${readable(value)}"`));
      }
      if (keyword !== "spawn" && keyword !== "twist" && keyword !== "aclexec") continue;
      // Only what is plainly a path: the rest is the shell's.
      const program = /^\(*\s*(\/[\w./+-]+)(?=[\s;&|)]|$)/.exec(value)?.[1];
      if (program === undefined || once(program, isExecutable)) continue;
      found.push(remark("command-missing", { file, line }, `"${program}" cannot be executed`));
    }
  }
  return found;
}

function isDirectory(path: string): boolean {
  return statOf(fileName(path))?.isDirectory() === true;
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(systemPath(path), { throwIfNoEntry: false });
  } catch {
    return undefined; // that it cannot be read is told by who reads it
  }
}
