/**
 * Named results in the order in which they are reported. Null stands where a metric has no value, such as the correlation
 * with a constant.
 */
export type MetricValues = readonly (readonly [name: string, value: number | null])[];
