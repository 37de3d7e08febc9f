import type { KernelFigure } from "../../bench/kernel-benchmark.js";
import { announceMachine } from "../announce-machine.js";
import type { Output } from "../output.js";
import type { BenchCommon, BenchOptions } from "./bench-options.js";

/** `bench kernels`: the operators one by one. */
export async function benchKernels(
  output: Output,
  common: BenchCommon,
  { filter, seconds }: BenchOptions,
): Promise<number> {
  const { benchmarkKernels } = await import("../../bench/kernel-benchmark.js");
  const result = await benchmarkKernels({
    ...common,
    seconds,
    ...(filter === undefined ? {} : { filter }),
    onStart: (info) => {
      announceMachine(output, info);
      if (!output.json) output.result(undefined, HEADER);
    },
    // As they come: minutes pass before the whole table is there.
    onFigure: (figure) => {
      if (output.json) output.talk(formatFigure(figure));
      else output.result(undefined, formatFigure(figure));
    },
  });
  if (output.json) output.result(result, "");
  return 0;
}

const HEADER = formatColumns(["operator", "shape", "µs", "GFLOP/s", "GB/s", "call µs"]);

function formatFigure({
  name,
  shape,
  us,
  gflop_per_s,
  gb_per_s,
  call_us,
  call_margin_percent,
}: KernelFigure): string {
  return formatColumns([
    name,
    shape,
    us.toFixed(1),
    gflop_per_s === null ? "-" : gflop_per_s.toFixed(1),
    gb_per_s.toFixed(1),
    `${call_us.toFixed(0)} ±${call_margin_percent.toFixed(0)} %`,
  ]);
}

function formatColumns([name, shape, ...numbers]: readonly string[]): string {
  return [
    name!.padEnd(33),
    shape!.padEnd(30),
    ...numbers.map((text, index) => text.padStart([10, 9, 7, 14][index]!)),
  ].join(" ");
}
