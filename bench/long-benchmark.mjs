// What the benchmarks that train for minutes share: their options, and a run that can be stopped and gone on with.
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

/** Of the repository. */
export const root = fileURLToPath(new URL("../", import.meta.url));

/** A module of the compiled package: dist/, or the folder in ELECTRA_DIST. */
export const load = (name) =>
  import(pathToFileURL(join(resolve(process.env.ELECTRA_DIST ?? join(root, "dist")), `${name}.js`)).href);

/** Ends the process with exit code 2. */
export function usageFailure(usage, message) {
  console.error(`error: ${message}\n\n${usage}`);
  process.exit(2);
}

/**
 * The command line: `texts` and `numbers` (whole ones above 0) take a value, `lists` may be given several times; `flags`,
 * --json and --help stand for themselves.
 */
export function readOptions({ usage, texts, numbers, lists = [], flags = [] }) {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        ...Object.fromEntries([...texts, ...numbers].map((name) => [name, { type: "string" }])),
        ...Object.fromEntries(lists.map((name) => [name, { type: "string", multiple: true }])),
        ...Object.fromEntries(["json", ...flags].map((name) => [name, { type: "boolean" }])),
        help: { type: "boolean", short: "h" },
      },
    }));
  } catch (error) {
    usageFailure(usage, error.message);
  }
  for (const name of numbers) {
    if (values[name] === undefined) continue;
    if (!/^[1-9]\d*$/.test(values[name])) {
      usageFailure(usage, `--${name} must be a whole number above 0, not "${values[name]}"`);
    }
    values[name] = Number(values[name]);
  }
  return values;
}

/**
 * Runs `work({ signal, sinks, log })` until it ends or a signal stops it, and shows its report.
 *
 * @param show told the report; gives the exit code
 * @returns the exit code; 130 when it was stopped
 */
export async function runStoppable(work, show) {
  const { TerminalSink } = await load("telemetry/terminal-sink");
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) {
    // Once: the second signal has its usual effect.
    process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
  }
  const sink = new TerminalSink();
  try {
    const report = await work({ signal: stop.signal, sinks: [sink], log: (line) => sink.log(line) });
    await sink.close();
    if (report !== undefined) return show(report);
  } catch (error) {
    await sink.close();
    if (!stop.signal.aborted) {
      console.error(`error: ${error.code === undefined ? (error.stack ?? error) : error.message}`);
      if (error.hint !== undefined) console.error(`  ${error.hint}`);
      return error.exitCode ?? 1;
    }
  }
  console.error("stopped; the same command goes on from here");
  return 130;
}
