/** Finds what listens on this machine, and who owns it, from /proc. Sees what our user may see, and says what it may not. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { endianness } from "node:os";
import { basename } from "node:path";

/** One socket that takes connections, or datagrams from anybody. */
export interface ListeningSocket {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  readonly inode: string;
}

/** A process with everything that could be learnt of it. */
export interface Owner {
  readonly pid: number;
  /** The file of its program without its folder, or the name that the kernel has for it. */
  readonly program: string;
  /** The name that the kernel has for it; it may call itself otherwise than its file. */
  readonly name: string;
  /** Of the program's file; absent where we may not know. */
  readonly file?: string;
  /** By name, or by number where there is none. */
  readonly user: string;
  /** Of systemd; absent where it belongs to none. */
  readonly unit?: string;
  /** Whether libwrap is loaded into it, or linked to its program; absent where we may not know. */
  readonly usesLibwrap?: boolean;
}

/** What was found. */
export interface Listeners {
  readonly sockets: readonly (ListeningSocket & { readonly owners: readonly Owner[] })[];
  /** Processes whose open files we may not see. */
  readonly hiddenProcesses: number;
}

/** Every listening socket of our network namespace. Throws where there is no /proc. Source: proc_net(5), proc_pid_fd(5). */
export function findListeners(): Listeners {
  const sockets = (["tcp", "udp"] as const).flatMap((protocol) =>
    ["", "6"].flatMap((version) => readSockets(protocol, `/proc/net/${protocol}${version}`, version !== "")),
  );
  const wanted = new Set(sockets.map(({ inode }) => inode));
  const pidsByInode = new Map<string, number[]>();
  let hiddenProcesses = 0;
  for (const pid of pids()) {
    const inodes = socketsOf(pid);
    if (inodes === undefined) hiddenProcesses += 1;
    for (const inode of inodes ?? []) {
      if (wanted.has(inode)) pidsByInode.set(inode, [...(pidsByInode.get(inode) ?? []), pid]);
    }
  }
  const users = namesOfUsers();
  const known = new Map<number, Owner | undefined>();
  const ownerOf = (pid: number): Owner | undefined => {
    if (!known.has(pid)) known.set(pid, describe(pid, users));
    return known.get(pid);
  };
  return {
    sockets: sockets.map((socket) => ({
      ...socket,
      owners: (pidsByInode.get(socket.inode) ?? []).sort(byRank).flatMap((pid) => ownerOf(pid) ?? []),
    })),
    hiddenProcesses,
  };
}

/** A service manager holds the sockets of others; among the others the parent was there first. */
function byRank(one: number, other: number): number {
  if (one === 1 || other === 1) return one === 1 ? 1 : -1;
  return one - other;
}

const listening = { tcp: "0A", udp: "07" } as const;

function readSockets(protocol: "tcp" | "udp", file: string, isIpv6: boolean): ListeningSocket[] {
  let text: string;
  try {
    text = readFileSync(file, "latin1");
  } catch (cause) {
    // A kernel without IPv6 has no file for it.
    if (isIpv6) return [];
    throw cause;
  }
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [, local = "", remote = "", state, , , , , , inode = "0"] = line.trim().split(/\s+/);
      const [hex = "", port = ""] = local.split(":");
      // A datagram socket that is connected takes from its peer only.
      const isOpen = state === listening[protocol] && /^0+:0+$/.test(remote);
      if (!isOpen || inode === "0") return [];
      return [{ protocol, address: addressOf(hex), port: Number.parseInt(port, 16), inode }];
    });
}

/** The kernel prints each 32-bit word in the machine's own order of bytes. */
function addressOf(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => {
    const inOrder = (word.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16));
    return endianness() === "LE" ? inOrder.reverse() : inOrder;
  });
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0)).toString(16),
  );
  return shorten(groups);
}

/** The longest run of zeros becomes "::". Source: RFC 5952. */
function shorten(groups: readonly string[]): string {
  const text = groups.join(":");
  const runs = [...text.matchAll(/(?:^|:)(?:0(?::|$)){2,}/g)].map(([run]) => run);
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), "");
  return longest === "" ? text : text.replace(longest, "::");
}

function pids(): number[] {
  return readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
}

/** Inodes of the sockets that a process has open; undefined where we may not know. */
function socketsOf(pid: number): string[] | undefined {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? [];
        return inode === undefined ? [] : [inode];
      } catch {
        return []; // closed meanwhile
      }
    });
  } catch (cause) {
    const isGone = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    return isGone ? [] : undefined;
  }
}

/** Undefined where the process has ended meanwhile. */
function describe(pid: number, users: ReadonlyMap<string, string>): Owner | undefined {
  const status = attempt(() => readFileSync(`/proc/${pid}/status`, "latin1"));
  if (status === undefined) return undefined;
  const name = /^Name:\t(.*)$/m.exec(status)?.[1] ?? "";
  const uid = /^Uid:\t\d+\t(\d+)/m.exec(status)?.[1] ?? "";
  const file = attempt(() => readlinkSync(`/proc/${pid}/exe`))?.replace(/ \(deleted\)$/, "");
  const cgroup = attempt(() => readFileSync(`/proc/${pid}/cgroup`, "latin1")) ?? "";
  const unit = /\/([^/\n]+\.(?:service|socket))(?:\/|$)/m.exec(cgroup)?.[1];
  const usesLibwrap = findLibwrap(pid);
  return {
    pid,
    program: file === undefined ? name : basename(file),
    name,
    ...(file !== undefined && { file }),
    user: users.get(uid) ?? uid,
    ...(unit !== undefined && { unit }),
    ...(usesLibwrap !== undefined && { usesLibwrap }),
  };
}

/** What is loaded counts, linked or not; where that may not be seen, what the program's file asks for. */
function findLibwrap(pid: number): boolean | undefined {
  const maps = attempt(() => readFileSync(`/proc/${pid}/maps`, "latin1"));
  if (maps !== undefined && maps !== "") return /\/libwrap\.so/.test(maps);
  return attempt(() => readFileSync(`/proc/${pid}/exe`).includes("libwrap.so"));
}

function namesOfUsers(): ReadonlyMap<string, string> {
  const lines = (attempt(() => readFileSync("/etc/passwd", "utf8")) ?? "").split("\n");
  return new Map(
    lines.flatMap((line) => {
      const [name = "", , uid = ""] = line.split(":");
      return uid === "" ? [] : [[uid, name] as const];
    }),
  );
}

function attempt<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined; // no right to see it, or gone meanwhile
  }
}
