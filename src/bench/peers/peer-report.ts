import type { Spread } from "../spread.js";
import type { ComparisonRow } from "./alternation.js";

/** What a measurement gave, or why it gave nothing. */
export interface MeasuredPeer {
  readonly name: string;
  readonly title: string;
  /** "PyTorch 2.13.0, compiled" */
  readonly peer?: string;
  readonly rows: readonly ComparisonRow[];
  readonly pairs: number;
  /** Pairs that were dropped because the machine was slower than its best. */
  readonly repeated: number;
  /** Pairs that count although it was. */
  readonly disturbed: number;
  /** Best GFLOP/s of the fixed product. */
  readonly calibration_gflop_per_s?: number;
  /** What it lacks, and how to get it. */
  readonly skipped?: string;
  readonly failed?: string;
}

export interface PeerReport {
  /** ISO 8601. */
  readonly time: string;
  readonly machine: string;
  readonly threads: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly measurements: readonly MeasuredPeer[];
  readonly passed: number;
  readonly missed: number;
  readonly skipped: number;
  readonly failed: number;
}

/** Counts what was asked: a row with a bar passes or misses, a measurement that could not run is skipped or failed. */
export function countOutcomes(
  measured: readonly MeasuredPeer[],
): Pick<PeerReport, "passed" | "missed" | "skipped" | "failed"> {
  const rows = measured.flatMap((each) => each.rows);
  return {
    passed: rows.filter(({ pass }) => pass === true).length,
    missed: rows.filter(({ pass }) => pass === false).length,
    skipped: measured.filter(({ skipped }) => skipped !== undefined).length,
    failed: measured.filter(({ failed }) => failed !== undefined).length,
  };
}

const HEAD = ["", "ours", "peer", "ratio", "least … most", "bar", ""] as const;

/** A table for each measurement. `markdown`: with bars, for a file. */
export function formatPeerReport(report: PeerReport, markdown = false): string {
  const blocks = report.measurements.map((each) => formatMeasurement(each, markdown));
  const { passed, missed, skipped, failed } = report;
  return [...blocks, `${passed} passed, ${missed} missed, ${skipped} skipped, ${failed} failed`].join("\n\n");
}

export function formatMeasurement(measured: MeasuredPeer, markdown = false): string {
  const { name, title, peer, rows, pairs, repeated, disturbed, skipped, failed } = measured;
  const heading = markdown ? `## ${name}: ${title}` : `${name}: ${title}`;
  if (skipped !== undefined) return `${heading}\n\nskipped: ${skipped}`;
  if (failed !== undefined) return `${heading}\n\nfailed: ${failed}`;
  const notes = [
    peer === undefined ? "" : `beside ${peer}; `,
    `medians of ${pairs} ${peer === undefined ? "runs" : "pairs"}`,
    repeated === 0 ? "" : `, ${repeated} repeated because the machine was slower meanwhile`,
    disturbed === 0 ? "" : `, ${disturbed} disturbed`,
  ].join("");
  const table = [HEAD, ...rows.map(cellsOf)];
  return `${heading}\n${notes}\n\n${markdown ? markdownTable(table) : plainTable(table)}`;
}

function cellsOf(row: ComparisonRow): readonly string[] {
  const { name, unit, better, ours, peer, ratio, bar, limit, pass } = row;
  const bars = [
    bar === undefined ? "" : `>= ${bar.toFixed(2)} x`,
    limit === undefined ? "" : `${better === "higher" ? ">=" : "<="} ${formatNumber(limit)} ${unit}`.trim(),
  ].filter((text) => text !== "");
  return [
    name,
    `${formatNumber(ours.median)} ${unit}`.trim(),
    peer === undefined ? "" : formatNumber(peer.median),
    ratio === undefined ? "" : ratio.median.toFixed(2),
    formatRange(ratio ?? ours),
    bars.join(", "),
    pass === undefined ? "" : pass ? "pass" : "MISSED",
  ];
}

function formatRange({ min, max }: Spread): string {
  return `${formatNumber(min)} … ${formatNumber(max)}`;
}

/** Three digits at least, none of them invented for large numbers. */
function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return size >= 10 ? value.toFixed(1) : size >= 0.1 ? value.toFixed(2) : value.toPrecision(2);
}

function markdownTable(rows: readonly (readonly string[])[]): string {
  const [head, ...body] = rows;
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head!), line(head!.map((_, i) => (i === 0 ? "---" : "---:"))), ...body.map(line)].join("\n");
}

function plainTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
