/**
 * Makes sockets that connect to a backend from the client's own address (`source: client`).
 *
 * Node has no setsockopt, so the socket is made and bound through libc by the optional package koffi, and handed to Node
 * by its descriptor. IP_TRANSPARENT needs CAP_NET_RAW (or CAP_NET_ADMIN, which may do far more), and the answers have to find
 * their way back: see `checkTransparent`. Source: ip(7) IP_TRANSPARENT, ipv6(7), the kernel's Documentation/networking/tproxy.rst.
 */

import { isIP, Socket, type SocketConstructorOpts } from "node:net";

import ipaddr from "ipaddr.js";

/** Thrown when a socket cannot be made: never a silent fall-back to our own address. */
export class TransparentError extends Error {
  override readonly name = "TransparentError";
  /** EPERM without the capability, EAFNOSUPPORT where client and backend are of two families, ENOPKG without koffi, … */
  readonly code: string;

  constructor(code: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/**
 * Makes a socket that is bound to `address`, to be connected to `target`; both numeric. The port is a free one: the client's own
 * may still belong to an earlier connection of it. A promise where another process makes the socket.
 *
 * @throws TransparentError
 */
export type OpenFrom = (address: string, target: string) => Socket | Promise<Socket>;

/** The calls of libc that are needed; results as in C, `errno` after a failure. */
export interface SocketCalls {
  socket(domain: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  close(fd: number): number;
  errno(): number;
}

/**
 * Loads koffi and finds libc.
 *
 * @param load how the package is imported; another one only in tests
 * @throws TransparentError ENOPKG when koffi is not installed or has no libc
 */
export async function loadTransparent(
  load: () => Promise<unknown> = importKoffi,
): Promise<(address: string, target: string) => Socket> {
  let calls: SocketCalls;
  try {
    calls = findCalls((await load()) as Koffi);
  } catch (cause) {
    throw new TransparentError("ENOPKG", "the optional package koffi is not there", cause);
  }
  return transparentSockets(calls);
}

/** The sockets themselves, over calls that may be another libc's in tests. */
export function transparentSockets(calls: SocketCalls): (address: string, target: string) => Socket {
  return (address, target) => {
    const [source, destination] = [addressOf(address), addressOf(target)];
    if (source === undefined || destination === undefined || source.kind() !== destination.kind()) {
      throw new TransparentError(
        "EAFNOSUPPORT",
        `a client at ${address} cannot be the source of a connection to ${target}`,
      );
    }
    const family = source.kind() === "ipv4" ? ipv4 : ipv6;
    const fd = calls.socket(family.domain, sockStream | sockNonBlock | sockCloseOnExec, 0);
    if (fd < 0) throw failed("socket", calls);
    try {
      if (calls.setsockopt(fd, family.level, family.transparent, one, one.length) < 0) {
        throw failed("IP_TRANSPARENT", calls);
      }
      // The port is chosen at connect, when the whole connection is known: thousands can share one source address.
      if (calls.setsockopt(fd, solIp, ipBindAddressNoPort, one, one.length) < 0) {
        throw failed("IP_BIND_ADDRESS_NO_PORT", calls);
      }
      const bound = socketAddress(family.domain, source.toByteArray());
      if (calls.bind(fd, bound, bound.length) < 0) throw failed(`bind to ${address}`, calls);
      return adopt(fd);
    } catch (error) {
      calls.close(fd);
      throw error;
    }
  };
}

// Numbers of Linux on every machine that Node runs on; <bits/socket.h>, <linux/in.h>, <linux/in6.h>.
const sockStream = 1;
const sockNonBlock = 0o4000;
const sockCloseOnExec = 0o2000000;
const solIp = 0;
const ipBindAddressNoPort = 24;
const ipv4 = { domain: 2, level: 0, transparent: 19 } as const;
const ipv6 = { domain: 10, level: 41, transparent: 75 } as const;
const errnoNames: Readonly<Record<number, string>> = {
  1: "EPERM",
  13: "EACCES",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  97: "EAFNOSUPPORT",
  98: "EADDRINUSE",
  99: "EADDRNOTAVAIL",
};

const one = new Uint8Array(Int32Array.of(1).buffer);

interface Koffi {
  load(library: string): { func(prototype: string): (...values: unknown[]) => number };
  errno(): number;
}

async function importKoffi(): Promise<unknown> {
  // Not a literal: an optional package must not be needed to compile.
  const name: string = "koffi";
  return ((await import(name)) as { default: unknown }).default;
}

function findCalls(koffi: Koffi): SocketCalls {
  const libc = koffi.load("libc.so.6");
  const setsockopt = "int setsockopt(int fd, int level, int name, const void *value, unsigned int length)";
  return {
    socket: libc.func("int socket(int domain, int type, int protocol)"),
    setsockopt: libc.func(setsockopt),
    bind: libc.func("int bind(int fd, const void *address, unsigned int length)"),
    close: libc.func("int close(int fd)"),
    errno: () => koffi.errno(),
  };
}

function failed(what: string, calls: SocketCalls): TransparentError {
  const errno = calls.errno();
  const code = errnoNames[errno] ?? `E${errno}`;
  const hint = code === "EPERM" ? "; CAP_NET_RAW is missing" : "";
  return new TransparentError(code, `${what}: ${code}${hint}`);
}

/** sockaddr_in or sockaddr_in6, port 0. The family is in the machine's own order of bytes. */
function socketAddress(domain: number, address: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(domain === ipv4.domain ? 16 : 28);
  new Uint16Array(bytes.buffer, 0, 1)[0] = domain;
  bytes.set(address, domain === ipv4.domain ? 4 : 8);
  return bytes;
}

/** Hands the descriptor to Node, which must not read before it is connected. */
function adopt(fd: number): Socket {
  const options: SocketConstructorOpts & { readonly manualStart: boolean } = {
    fd,
    readable: true,
    writable: true,
    allowHalfOpen: true,
    manualStart: true,
  };
  return new Socket(options).setNoDelay(true);
}

/** An IPv4-mapped one as IPv4, a zone left out; undefined for what is no address: the peer of a unix socket. */
function addressOf(text: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  const plain = text.replace(/%.*$/s, "");
  return isIP(plain) === 0 ? undefined : ipaddr.process(plain);
}
