import { availableParallelism } from "node:os";
import { Kernels } from "../engine/kernels.js";
import type { CpuSettings } from "../engine/types.js";
import { spreadOf } from "./spread.js";

export interface GemmCeilingOptions extends CpuSettings {
  /** Products that each thread is timed on. Default 15. */
  readonly repeat?: number;
  readonly signal?: AbortSignal;
}

/** A square product: large enough for a rate that does not rise any more, small enough to stay in cache (three MiB). */
const SIZE = 512;

/**
 * GFLOP/s of matrix products at their best on this machine, now: every thread does products of its own at a shape that suits it,
 * all at once, with the provider that the operators use. Tells how fast a step could be if it consisted of good products alone,
 * and whether the machine was slower during one measurement than during another.
 *
 * @throws ElectraError `ERR_ELECTRA_GEMM`, `ERR_ELECTRA_ISA` for a choice this machine lacks
 */
export async function measureGemmCeiling(options: GemmCeilingOptions = {}): Promise<number> {
  const { threads = availableParallelism(), repeat = 15, ...settings } = options;
  const values = (scale: number) =>
    Float32Array.from({ length: SIZE * SIZE }, (_, i) => scale * (((i * 7919) % 1013) - 506));
  const a = values(1e-3);
  const b = values(2e-3);
  const workers = await Promise.all(
    Array.from({ length: threads }, () => Kernels.create({ ...settings, device: "cpu", threads: 1 })),
  );
  try {
    const times = () =>
      Promise.all(
        workers.map(
          async (kernels) => (await kernels.gemm({ m: SIZE, n: SIZE, k: SIZE, a, b, repeat })).seconds,
        ),
      );
    // Pages and code are touched before the clock counts.
    await times();
    const flop = 2 * SIZE ** 3;
    return (await times()).reduce((sum, seconds) => sum + flop / spreadOf(seconds).median / 1e9, 0);
  } finally {
    await Promise.all(workers.map((kernels) => kernels.dispose()));
  }
}
