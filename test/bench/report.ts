/** Markdown tables of what the benchmark of the relay has found. */

import { measures, memory, rulesMayCost, wanted, type Turns, type Wanted } from "./measures.ts";

/** Turns by the name of the measure. */
export type Found = Readonly<Record<string, Turns>>;

/** All tables that the figures found are enough for, as text that can stand in a document. */
export function report(found: Found): string {
  return [wantedTable(found), rulesTable(found), peersTable(found, false), peersTable(found, true)]
    .filter((table) => table !== "")
    .join("\n\n");
}

const own = "tcpwrapd";
const withRules = "tcpwrapd-100k";

function wantedTable(found: Found): string {
  const rows = wanted.flatMap((row) => {
    const ours = middle(found, row.measure, own, row.figure);
    const theirs = middle(found, row.measure, row.against, row.figure);
    if (ours === undefined || theirs === undefined) return [];
    const ratio = ours / theirs;
    const isReached = ratio >= (row.atLeast ?? 0) && ratio <= (row.atMost ?? Infinity);
    return [
      [
        `${titleOf(row.measure)}, ${row.figure}`,
        rounded(ours),
        `${row.against} ${rounded(theirs)}`,
        ratio.toFixed(2),
        limits(row),
        isReached ? "reached" : "**missed**",
      ],
    ];
  });
  return table(["measure", own, "against", "ratio", "wanted", ""], rows);
}

/** The turns of both daemons come in pairs, one after the other: the middle one of their ratios. */
function rulesTable(found: Found): string {
  const rows = Object.entries(found).flatMap(([measure, turns]) => {
    const few = turns[own] ?? [];
    const many = turns[withRules] ?? [];
    return Object.keys(few[0] ?? {}).flatMap((figure) => {
      const ratios = few.flatMap((each, at) => {
        const other = many[at]?.[figure];
        return other === undefined ? [] : [other / (each[figure] ?? Number.NaN)];
      });
      if (ratios.length === 0) return [];
      const ratio = median(ratios);
      const isWorse = figure === "GiB/s" || figure === "per second" ? 1 - ratio : ratio - 1;
      return [
        [
          `${titleOf(measure)}, ${figure}`,
          rounded(median(few.map((each) => each[figure] ?? Number.NaN))),
          rounded(median(many.map((each) => each[figure] ?? Number.NaN))),
          `${ratio.toFixed(3)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`,
          isWorse <= rulesMayCost ? "reached" : "**missed**",
        ],
      ];
    });
  });
  return table(
    ["with rules", "10", "100,000", "ratio (all rounds)", `${rulesMayCost * 100} % at most`],
    rows,
  );
}

/** One row for each peer; processor times in a table of their own. */
function peersTable(found: Found, isProcessorTime: boolean): string {
  const columns = Object.entries(found).flatMap(([measure, turns]) => {
    const figures = Object.keys(Object.values(turns)[0]?.[0] ?? {});
    return figures
      .filter((figure) => figure.startsWith("cpu ") === isProcessorTime)
      .map((figure) => ({ measure, figure }));
  });
  const peers = [...new Set(Object.values(found).flatMap((turns) => Object.keys(turns)))];
  const rows = peers
    .filter((peer) => !(isProcessorTime && peer === "direct"))
    .map((peer) => [
      peer,
      ...columns.map(({ measure, figure }) => {
        const value = middle(found, measure, peer, figure);
        return value === undefined ? "-" : rounded(value);
      }),
    ]);
  const heads = columns.map(({ measure, figure }) => `${titleOf(measure)}, ${figure}`);
  return columns.length === 0 ? "" : table([isProcessorTime ? "processor time" : "peer", ...heads], rows);
}

function titleOf(measure: string): string {
  return measure === memory.name ? memory.title : (measures[measure]?.title ?? measure);
}

function limits({ atLeast, atMost }: Wanted): string {
  return atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`;
}

function middle(found: Found, measure: string, peer: string, figure: string): number | undefined {
  const turns = found[measure]?.[peer];
  return turns && median(turns.map((each) => each[figure] ?? Number.NaN));
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function rounded(figure: number): string {
  return figure >= 100 ? figure.toFixed(0) : figure.toPrecision(3);
}

/** Aligned as the formatter of the documents does it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return "";
  const widths = head.map((text, at) => Math.max(3, text.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join(" | ")} |`;
  const rule = widths.map((width, at) => (at === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}
