/** A DNS server of a few lines that says whatever a test wants: lies, silence, late answers, bytes no real server would take. */

import { createSocket } from "node:dgram";
import { once } from "node:events";

export type RecordType = "A" | "CNAME" | "PTR" | "AAAA";

/** A name: text with dots, or its labels as bytes where they hold what text cannot. */
export type Name = string | readonly (string | Uint8Array)[];

export interface DnsRecord {
  readonly type: RecordType;
  /** The name the record belongs to; absent = the name in the question. */
  readonly owner?: Name;
  readonly ttl?: number;
  /** An address, or the name that the record points to. */
  readonly data: Name;
}

export interface Reply {
  /** 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED. */
  readonly rcode?: number;
  readonly records?: readonly DnsRecord[];
  readonly delayMs?: number;
  /** It is held back until then. */
  readonly until?: Promise<void>;
}

export interface Question {
  /** Lower case, no final dot. */
  readonly name: string;
  readonly type: string;
}

export interface DnsServer {
  /** For `setServers`. */
  readonly address: string;
  readonly port: number;
  /** Every question heard, in order. */
  readonly asked: Question[];
  /** The most questions that waited for their answer at once. */
  readonly mostAtOnce: () => number;
  readonly close: () => Promise<void>;
}

/** What a server says to one question; undefined = nothing at all. */
export type Answerer = (question: Question) => Reply | undefined;

/** Starts a server on a free port of 127.0.0.1, or where it is told. */
export async function startDns(answer: Answerer, port = 0, host = "127.0.0.1"): Promise<DnsServer> {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 * 1024 * 1024 });
  const asked: Question[] = [];
  const timers = new Set<NodeJS.Timeout>();
  let most = 0;
  let isOpen = true;
  socket.on("message", (packet, from) => {
    const question = readQuestion(packet);
    asked.push(question);
    const reply = answer(question);
    if (reply === undefined) return;
    const bytes = writeReply(packet, reply);
    if (reply.until !== undefined)
      return void reply.until.then(() => isOpen && socket.send(bytes, from.port, from.address));
    if (reply.delayMs === undefined) return socket.send(bytes, from.port, from.address);
    const timer = setTimeout(() => {
      timers.delete(timer);
      socket.send(bytes, from.port, from.address);
    }, reply.delayMs);
    timers.add(timer);
    most = Math.max(most, timers.size);
  });
  socket.bind(port, host);
  await once(socket, "listening");
  const bound = socket.address().port;
  return {
    address: `${host}:${bound}`,
    port: bound,
    asked,
    mostAtOnce: () => most,
    close: async () => {
      isOpen = false;
      for (const timer of timers) clearTimeout(timer);
      socket.close();
      await once(socket, "close");
    },
  };
}

/** Answers from a table "NAME TYPE" → reply; NXDOMAIN where no row has the name, no data where another type has it. */
export function fromTable(
  table: Readonly<Record<string, Reply | readonly DnsRecord[] | "silent">>,
): Answerer {
  const names = new Set(Object.keys(table).map((key) => key.split(" ", 1)[0]));
  return ({ name, type }) => {
    const row = table[`${name} ${type}`];
    if (row === "silent") return undefined;
    if (row === undefined) return { rcode: names.has(name) ? 0 : 3 };
    return "length" in row ? { records: row } : row;
  };
}

const typeNumbers: Readonly<Record<RecordType, number>> = { A: 1, CNAME: 5, PTR: 12, AAAA: 28 };

function readQuestion(packet: Buffer): Question {
  const labels: string[] = [];
  let at = 12;
  for (let length = packet[at] ?? 0; length > 0; length = packet[at] ?? 0) {
    labels.push(packet.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  const number = packet.readUInt16BE(at + 1);
  const type = Object.entries(typeNumbers).find(([, each]) => each === number)?.[0] ?? String(number);
  return { name: labels.join(".").toLowerCase(), type };
}

function writeReply(query: Buffer, { rcode = 0, records = [] }: Reply): Buffer {
  let end = 12;
  while ((query[end] ?? 0) > 0) end += 1 + (query[end] ?? 0);
  const question = query.subarray(12, end + 5);
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8580 | rcode, 2); // answer, authoritative, recursion wanted and given
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  return Buffer.concat([header, question, ...records.map(writeRecord)]);
}

function writeRecord({ type, owner, ttl = 300, data }: DnsRecord): Buffer {
  const content = type === "A" || type === "AAAA" ? addressBytes(String(data)) : writeName(data);
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(typeNumbers[type], 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt32BE(ttl, 4);
  fixed.writeUInt16BE(content.length, 8);
  return Buffer.concat([owner === undefined ? Buffer.from([0xc0, 12]) : writeName(owner), fixed, content]);
}

function writeName(name: Name): Buffer {
  const labels = typeof name === "string" ? (name === "" ? [] : name.split(".")) : name;
  const parts = labels.map((label) => {
    const bytes = typeof label === "string" ? Buffer.from(label, "latin1") : Buffer.from(label);
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  });
  return Buffer.concat([...parts, Buffer.from([0])]);
}

function addressBytes(text: string): Buffer {
  if (!text.includes(":")) return Buffer.from(text.split(".").map(Number));
  const [head = "", tail] = text.split("::", 2);
  const groups = (side: string): string[] => (side === "" ? [] : side.split(":"));
  const [left, right] = [groups(head), groups(tail ?? "")];
  const zeros = Array.from({ length: tail === undefined ? 0 : 8 - left.length - right.length }, () => "0");
  return Buffer.from([...left, ...zeros, ...right].map((group) => group.padStart(4, "0")).join(""), "hex");
}
