/** What the benchmark of the relay measures, and what every figure has to be. */

import type { Peer } from "./relay-peers.ts";

/** Figures of one turn, by name; those of "cpu" are processor time of the peer. */
export type Figures = Readonly<Record<string, number>>;

/** All turns of one measure, by the name of the peer. */
export type Turns = Readonly<Record<string, readonly Figures[]>>;

export interface Measure {
  readonly title: string;
  /** What the load program is to do. */
  readonly load: "bulk" | "rtt" | "conns" | "refused";
  /** Arguments for the load program behind the port; `bytesPerSecond` is what the peer did in the warming round. */
  readonly args: (bytesPerSecond: number | undefined) => readonly string[];
  /** Where it is sent to; undefined for a peer that cannot do this. */
  readonly port: (peer: Peer) => number | undefined;
  readonly figures: (said: Readonly<Record<string, number>>, cpuSeconds: number) => Figures;
  /** A guess, for the time left. */
  readonly seconds: number;
}

/** One figure that is wanted: `figure` of tcpwrapd against the same of another peer. */
export interface Wanted {
  readonly measure: string;
  readonly figure: string;
  readonly against: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

const GiB = 2 ** 30;
const bulkSeconds = 0.7;

const perSecond: Measure["figures"] = ({ seconds = 0, count = 0 }, cpu) => ({
  "per second": count / seconds,
  "cpu µs each": (cpu * 1e6) / count,
});

export const measures: Readonly<Record<string, Measure>> = {
  bulk1: bulk(1),
  bulk8: bulk(8),
  rtt1: roundTrip(1),
  rtt100: roundTrip(100),
  connections: {
    title: "connections allowed",
    load: "conns",
    args: () => ["1.2", "16"],
    port: ({ port }) => port,
    figures: perSecond,
    seconds: 1.6,
  },
  refused: {
    title: "connections refused",
    load: "refused",
    args: () => ["1.2", "16"],
    port: ({ refusedPort }) => refusedPort,
    figures: perSecond,
    seconds: 1.6,
  },
};

export const memory = { name: "memory", title: "idle session", figure: "KiB each", seconds: 6 } as const;

export const wanted: readonly Wanted[] = [
  ...["bulk1", "bulk8"].flatMap((measure) => [
    { measure, figure: "GiB/s", against: "haproxy", atLeast: 1.5 },
    { measure, figure: "cpu s/GiB", against: "haproxy", atMost: 0.55 },
  ]),
  { measure: "rtt1", figure: "p50 µs", against: "haproxy", atMost: 1.05 },
  { measure: "rtt1", figure: "p99 µs", against: "haproxy", atMost: 1.5 },
  { measure: "rtt100", figure: "p50 µs", against: "haproxy", atMost: 1.2 },
  { measure: "rtt100", figure: "p99 µs", against: "haproxy", atMost: 1.5 },
  { measure: "connections", figure: "per second", against: "haproxy", atLeast: 0.85 },
  { measure: "connections", figure: "per second", against: "tcpserver+tcpd", atLeast: 10 },
  { measure: "refused", figure: "per second", against: "haproxy", atLeast: 1 },
  { measure: "memory", figure: "KiB each", against: "nginx", atMost: 1 },
];

/** How far a figure with 100,000 rules may be from the same with ten. */
export const rulesMayCost = 0.03;

function bulk(streams: number): Measure {
  return {
    title: `bulk, ${streams} stream${streams > 1 ? "s" : ""}`,
    load: "bulk",
    // A slow peer moves fewer bytes, in about the same time.
    args: (bytesPerSecond = GiB / 4 / bulkSeconds) => [
      `${streams}`,
      `${Math.ceil(Math.min(4 * GiB, bytesPerSecond * bulkSeconds) / streams)}`,
    ],
    port: ({ echoOnly, port }) => (echoOnly ? undefined : port),
    figures: ({ seconds = 0, bytes = 0 }, cpu) => ({
      "GiB/s": bytes / GiB / seconds,
      "cpu s/GiB": (cpu * GiB) / bytes,
    }),
    seconds: bulkSeconds + 0.2,
  };
}

function roundTrip(connections: number): Measure {
  return {
    title: `round trip, ${connections} connection${connections > 1 ? "s" : ""}`,
    load: "rtt",
    args: () => [`${connections}`, "1"],
    port: ({ port }) => port,
    figures: ({ count = 0, p50us = 0, p99us = 0 }, cpu) => ({
      "p50 µs": p50us,
      "p99 µs": p99us,
      "cpu µs each": (cpu * 1e6) / count,
    }),
    seconds: 1.3,
  };
}
