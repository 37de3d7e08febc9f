/** `0.123` as `12.3 %`. */
export function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)} %`;
}

/** `234 GFLOP/s, 71 % of the 330 that products reach here` */
export function formatProducts(figures: {
  readonly gflop_per_s: number;
  readonly gemm_ceiling_gflop_per_s: number | null;
  readonly gemm_ceiling_share: number | null;
}): string {
  const { gflop_per_s: rate, gemm_ceiling_gflop_per_s: ceiling, gemm_ceiling_share: share } = figures;
  const reached = `${rate.toFixed(0)} GFLOP/s`;
  if (ceiling === null || share === null) return reached;
  return `${reached}, ${percent(share, 0)} of the ${ceiling.toFixed(0)} that good products reach here`;
}
