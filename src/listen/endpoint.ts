/** Reads and prints the places where clients come in and go out: "host:port", "udp:host:port", "unix:/path", "systemd:NAME". */

import { isIPv4, isIPv6 } from "node:net";

/** A TCP address; `host` is a numeric address where we listen, and may be a host name where we dial. */
export interface TcpEndpoint {
  readonly kind: "tcp";
  readonly host: string;
  readonly port: number;
}

/** A UDP address; as `TcpEndpoint`. */
export interface UdpEndpoint {
  readonly kind: "udp";
  readonly host: string;
  readonly port: number;
}

export interface UnixEndpoint {
  readonly kind: "unix";
  readonly path: string;
}

/** A socket that the service manager holds for us, by its FileDescriptorName=. Source: sd_listen_fds(3). */
export interface InheritedEndpoint {
  readonly kind: "systemd";
  readonly name: string;
}

export type ListenEndpoint = TcpEndpoint | UdpEndpoint | UnixEndpoint | InheritedEndpoint;
export type BackendEndpoint = TcpEndpoint | UdpEndpoint | UnixEndpoint;

/** A value, or why there is none: `error` says what is wrong, `hint` what to write instead. */
export type Parsed<Value> = { readonly value: Value } | { readonly error: string; readonly hint: string };

/** sockaddr_un has 108 bytes, the last of them a NUL. Source: unix(7). */
const maxUnixPathBytes = 107;

/** Reads a place to listen on: a numeric address with port (TCP, or UDP behind "udp:"), a unix socket, or a socket of the service manager. */
export function parseListen(text: string): Parsed<ListenEndpoint> {
  if (text.startsWith("systemd:")) {
    const name = text.slice("systemd:".length);
    return name === ""
      ? {
          error: `"${text}" has no name`,
          hint: 'write "systemd:NAME" with the FileDescriptorName= of the socket unit',
        }
      : { value: { kind: "systemd", name } };
  }
  const parsed = parseBackend(text, true);
  if ("error" in parsed || parsed.value.kind === "unix") return parsed;
  const { host } = parsed.value;
  return isIPv4(host) || isIPv6(host)
    ? parsed
    : {
        error: `"${text}" is no numeric address`,
        hint: `listen on an address of this machine, for example "${printEndpoint({ ...parsed.value, host: "127.0.0.1" })}" or "${printEndpoint({ ...parsed.value, host: "::" })}"`,
      };
}

/**
 * Reads the address of a backend: "host:port", "[v6]:port", "udp:host:port", "udp:[v6]:port" or "unix:/path".
 *
 * @param allowsAnyPort port 0, "whichever is free", has a meaning for listeners only
 */
export function parseBackend(text: string, allowsAnyPort = false): Parsed<BackendEndpoint> {
  if (text.startsWith("unix:")) return parseUnix(text);
  const kind = text.startsWith(udpPrefix) ? "udp" : "tcp";
  const [, bracketed, plain = "", portText = ""] =
    addressPattern.exec(kind === "udp" ? text.slice(udpPrefix.length) : text) ?? [];
  const host = bracketed ?? plain;
  if (host === "" || (bracketed !== undefined && !isIPv6(bracketed)) || !/^[A-Za-z0-9.:_%-]+$/.test(host)) {
    return { error: `"${text}" is no address`, hint: addressHint(text) };
  }
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : -1;
  if (port < (allowsAnyPort ? 0 : 1) || port > 65535) {
    return {
      error: `"${portText}" in "${text}" is no port`,
      hint: "write a number from 1 to 65535 behind the last colon",
    };
  }
  return { value: { kind, host, port } };
}

const udpPrefix = "udp:";

const addressPattern = /^(?:\[([^\]]*)\]|([^:[\]]*)):([^:]*)$/;

/** Prints an endpoint the way it is written in the configuration. */
export function printEndpoint(endpoint: ListenEndpoint): string {
  switch (endpoint.kind) {
    case "tcp":
      return `${endpoint.host.includes(":") ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`;
    case "udp":
      return `${udpPrefix}${printEndpoint({ ...endpoint, kind: "tcp" })}`;
    case "unix":
      return `unix:${endpoint.path}`;
    case "systemd":
      return `systemd:${endpoint.name}`;
  }
}

function parseUnix(text: string): Parsed<UnixEndpoint> {
  const path = text.slice("unix:".length);
  if (!path.startsWith("/") || path.includes("\0")) {
    return { error: `"${text}" has no absolute path`, hint: 'write "unix:/run/mysqld/mysqld.sock"' };
  }
  return new TextEncoder().encode(path).length > maxUnixPathBytes
    ? { error: `"${text}" is too long for a unix socket`, hint: `a path may have ${maxUnixPathBytes} bytes` }
    : { value: { kind: "unix", path } };
}

function addressHint(text: string): string {
  if (text.startsWith(udpPrefix)) return 'write "udp:127.0.0.1:69" or "udp:[::1]:69"';
  const separator = text.lastIndexOf(":");
  const host = text.slice(0, separator);
  if (isIPv6(host)) return `write "[${host}]:${text.slice(separator + 1)}"`;
  if (isIPv6(text) || isIPv4(text))
    return `write the port too, for example "${isIPv6(text) ? `[${text}]` : text}:22"`;
  return 'write "127.0.0.1:22", "[::1]:22", "unix:/path", or "udp:127.0.0.1:69" for UDP';
}
