/** Reads the address of a syslog receiver as the configuration writes it. */

/** Source: RFC 5426 section 3.3 for UDP; by custom the same for TCP. */
const DEFAULT_PORT = 514;

export type SyslogAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "udp" | "tcp"; readonly host: string; readonly port: number };

/**
 * Takes an address apart: a path such as /dev/log, `udp://host:port` or `tcp://host:port`, IPv6 in brackets.
 *
 * @returns undefined where it is none of these; a name is not looked up here
 */
export function parseSyslogAddress(text: string): SyslogAddress | undefined {
  if (text.startsWith("/")) return { kind: "unix", path: text };
  const parts = ADDRESS.exec(text)?.groups;
  const host = parts?.["v6"] ?? parts?.["host"];
  const port = Number(parts?.["port"] ?? DEFAULT_PORT);
  if (parts === undefined || host === undefined || port === 0 || port > 65_535) return undefined;
  return { kind: parts["kind"] === "udp" ? "udp" : "tcp", host, port };
}

const ADDRESS =
  /^(?<kind>udp|tcp):\/\/(?:\[(?<v6>[0-9A-Fa-f:.]+)\]|(?<host>[^\s:/[\]]+))(?::(?<port>\d{1,5}))?$/;
