/** Gives sockets to systemd to keep while the daemon is away: FDSTORE=1 of sd_notify(3); the one place that knows how Node sends descriptors. */

import { readdirSync, readlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { EventEmitter } from "node:events";

/** Keeps sockets over a restart and over a crash; they come back as those of socket activation do. */
export interface DescriptorStore {
  /** Rejects when the message does not go out; the socket is not kept then. */
  keep(name: string, socket: unknown): Promise<void>;
}

/** What must not be collected while the process lives. */
const wrappers: unknown[] = [];

/** A manager that does not read must not hold up the start. */
const sendMs = 2000;

/** Node's own wrapper of a unix socket that can carry descriptors; what fork(3) of Node speaks through. */
interface Pipe {
  open(descriptor: number): number;
  connect(request: Pending, path: string): number;
  writeUtf8String(request: Pending, text: string, socket: unknown): number;
}

interface Pending {
  oncomplete?: (status: number) => void;
}

interface Bindings {
  readonly Pipe: new (kind: number) => Pipe;
  readonly PipeConnectWrap: new () => Pending;
  readonly WriteWrap: new () => Pending;
  readonly ipc: number;
}

/** What node-unix-socket makes a datagram socket of; the class that it exports would read from it. */
interface Datagram {
  init(self: Datagram): void;
}

/**
 * Opens the way to the service manager for descriptors.
 *
 * Node can send a descriptor over a pipe to a child only. That pipe is made here around a datagram socket: libuv connects and
 * writes by connect(2) and sendmsg(2), which do for datagrams what is wanted. It must be this process that sends: systemd takes nothing
 * from another one under NotifyAccess=main.
 *
 * @param path NOTIFY_SOCKET, in the file system
 *
 * Rejects where this Node or the manager does not go along; nothing is kept then, and nothing else is lost.
 */
export async function openDescriptorStore(path: string): Promise<DescriptorStore> {
  const { Pipe, PipeConnectWrap, WriteWrap, ipc } = findBindings();
  const { socket, descriptor } = openDatagram();
  const pipe = new Pipe(ipc);
  check(pipe.open(descriptor), "open");
  // Both wrappers would close the one descriptor, so neither is ever closed; they keep nothing alive, and there is one pair a process.
  wrappers.push(pipe, socket);
  await completed(new PipeConnectWrap(), (request) => pipe.connect(request, path));
  return {
    keep: async (name, sent) => {
      const text = `FDSTORE=1\nFDNAME=${name}`;
      await completed(new WriteWrap(), (request) => pipe.writeUtf8String(request, text, sent));
    },
  };
}

function findBindings(): Bindings {
  const { binding } = process as unknown as { binding?: (name: string) => Record<string, unknown> };
  const pipes = binding?.("pipe_wrap");
  const streams = binding?.("stream_wrap");
  const constants = pipes?.["constants"] as { IPC?: number } | undefined;
  const found = {
    Pipe: pipes?.["Pipe"],
    PipeConnectWrap: pipes?.["PipeConnectWrap"],
    WriteWrap: streams?.["WriteWrap"],
    ipc: constants?.IPC,
  };
  if (Object.values(found).includes(undefined))
    throw new Error("this Node cannot send a descriptor to another program");
  return found as Bindings;
}

/** A datagram socket that nobody reads from; found among our descriptors, since the package does not tell its number. */
function openDatagram(): { socket: Datagram; descriptor: number } {
  const { DgramSocketWrap } = createRequire(import.meta.url)("node-unix-socket/js/addon.js") as {
    DgramSocketWrap: new (emitter: EventEmitter) => Datagram;
  };
  const before = sockets();
  const socket = new DgramSocketWrap(new EventEmitter());
  socket.init(socket);
  const made = [...sockets()].filter(([link]) => !before.has(link));
  const [first] = made;
  if (first === undefined || made.length > 1) throw new Error("the datagram socket is not to be found");
  return { socket, descriptor: first[1] };
}

/** Our sockets: what /proc says each one is, and its number. */
function sockets(): Map<string, number> {
  const found = new Map<string, number>();
  for (const name of readdirSync("/proc/self/fd")) {
    try {
      const link = readlinkSync(`/proc/self/fd/${name}`);
      if (link.startsWith("socket:")) found.set(link, Number(name));
    } catch {
      // The one that listed the directory is closed by now.
    }
  }
  return found;
}

/** Begins a request of libuv's, and waits for its end. */
async function completed(request: Pending, begin: (request: Pending) => number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error("the service manager does not read")), sendMs);
    const end = (status: number): void => {
      clearTimeout(limit);
      if (status === 0) resolve();
      else reject(new Error(`status ${status}`));
    };
    request.oncomplete = end;
    const begun = begin(request);
    if (begun !== 0) end(begun);
  });
}

function check(status: number, what: string): void {
  if (status !== 0) throw new Error(`${what}: status ${status}`);
}
