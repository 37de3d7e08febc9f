/**
 * Seconds as the reference prints them, Python's `timedelta` with leading zeros and groups dropped:
 * 0 -> "0", 5 -> "5", 65 -> "1:05", 3605 -> "1:00:05", 90061 -> "1 day, 1:01:01".
 */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const whole = Math.max(0, Math.round(seconds));
  const days = Math.floor(whole / 86_400);
  const hours = Math.floor(whole / 3600) % 24;
  const minutes = Math.floor(whole / 60) % 60;
  const two = (value: number): string => String(value).padStart(2, "0");
  const clock = `${hours}:${two(minutes)}:${two(whole % 60)}`;
  if (days > 0) return `${days} day${days === 1 ? "" : "s"}, ${clock}`;
  // "0:00:05" -> "5", "0:01:05" -> "1:05": a leading digit 0 or colon goes as long as something is left.
  return clock.replace(/^[0:]+(?=.)/, "");
}

export interface ReferenceLineOptions {
  readonly step: number;
  readonly totalSteps: number;
  /** Seconds of this run so far. */
  readonly elapsedSeconds: number;
  /** Steps of this run so far; rates count from its first step. */
  readonly stepsOfThisRun: number;
  /** Absent in the last line of a run. */
  readonly loss?: number;
}

/** The reference's console line: `12/100 = 12.0%, SPS: 3.4, ELAP: 3, ETA: 25 - loss: 45.1234`. */
export function formatReferenceLine(options: ReferenceLineOptions): string {
  const { step, totalSteps, elapsedSeconds, stepsOfThisRun, loss } = options;
  const stepsPerSecond = elapsedSeconds > 0 ? stepsOfThisRun / elapsedSeconds : 0;
  const eta = stepsPerSecond > 0 ? (totalSteps - step) / stepsPerSecond : Number.NaN;
  const percent = totalSteps > 0 ? (100 * step) / totalSteps : 100;
  const rates = `SPS: ${stepsPerSecond.toFixed(1)}, ELAP: ${formatDuration(elapsedSeconds)}, ETA: ${formatDuration(eta)}`;
  return `${step}/${totalSteps} = ${percent.toFixed(1)}%, ${rates}${loss === undefined ? "" : ` - loss: ${loss.toFixed(4)}`}`;
}

/** The reference's heading: a rule of 80 `=`, the text with a colon, a rule. */
export function formatHeading(text: string): string {
  const rule = "=".repeat(80);
  return `${rule}\n${text}:\n${rule}`;
}

/** The reference's listing of a configuration: `name value` lines sorted by name. */
export function formatConfig(config: Readonly<Record<string, unknown>>): string {
  return Object.keys(config)
    .sort()
    .map(
      (name) => `${name} ${typeof config[name] === "string" ? config[name] : JSON.stringify(config[name])}`,
    )
    .join("\n");
}

/** The reference's listing of evaluation results: `  name = value` lines sorted by name. */
export function formatResults(metrics: Readonly<Record<string, number>>): string {
  return Object.keys(metrics)
    .sort()
    .map((name) => `  ${name} = ${metrics[name]}`)
    .join("\n");
}
