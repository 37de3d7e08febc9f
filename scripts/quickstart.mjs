// The main job: text in, a pre-trained ELECTRA out. Started by quickstart.sh, which sets everything up first.
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const usage = `Pre-trains a small ELECTRA on State of the Union speeches, measures what it learned on speeches that it never
saw, and lets it look for swapped words. Run it again to go on where it was stopped.

  sh scripts/quickstart.sh [options]

  --minutes <n>        train for about so many minutes (default: about four on two cores)
  --corpus-dir <dir>   your own text instead: a folder of at least two .txt or .gz files; one in ten is held out
  --work-dir <dir>     where data and models go (default: quickstart)
  --report <file>      where the report goes (default: quickstart-report.json)
  --threads <n>        threads (default: all)
  --json               print the report as JSON instead of tables
  -h, --help           print this

Exit code: 0, 1 when something failed or a bar was missed, 2 for wrong options, 130 or 143 when stopped.`;

function usageFailure(message) {
  console.error(`error: ${message}\n\n${usage}`);
  process.exit(2);
}

function readOptions() {
  const text = { type: "string" };
  const flag = { type: "boolean" };
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        minutes: text,
        "corpus-dir": text,
        "work-dir": text,
        report: text,
        threads: text,
        json: flag,
        help: { ...flag, short: "h" },
      },
    }));
  } catch (error) {
    usageFailure(error.message);
  }
  const number = (name, isRight, expected) => {
    if (values[name] === undefined) return undefined;
    const value = Number(values[name]);
    if (values[name].trim() === "" || !isRight(value))
      usageFailure(`--${name} must be ${expected}, not "${values[name]}"`);
    return value;
  };
  return {
    ...values,
    minutes: number("minutes", (n) => n > 0 && Number.isFinite(n), "a number above 0"),
    threads: number("threads", (n) => Number.isSafeInteger(n) && n > 0, "a whole number above 0"),
  };
}

/** Paths that were typed are meant from where the shell script was started. */
function given(path, otherwise) {
  return path === undefined ? otherwise : resolve(process.env.ELECTRA_STARTED_IN ?? process.cwd(), path);
}

async function main() {
  const options = readOptions();
  if (options.help) {
    console.log(usage);
    return 0;
  }
  if (!existsSync(join(root, "dist", "quickstart", "run-quickstart.js"))) {
    console.error("error: dist/ is missing. Start with: sh scripts/quickstart.sh");
    return 1;
  }
  const { runQuickstart } = await import("../dist/quickstart/run-quickstart.js");
  const { formatReport } = await import("../dist/quickstart/report.js");
  const { TerminalSink } = await import("../dist/telemetry/terminal-sink.js");

  const stop = new AbortController();
  let stoppedBy;
  for (const [signal, exitCode] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ]) {
    process.on(signal, () => {
      if (stoppedBy !== undefined) process.exit(exitCode);
      stoppedBy = exitCode;
      console.error(`${signal}: finishing what is under way; once more stops at once`);
      stop.abort(new Error(`stopped by ${signal}`));
    });
  }

  const sink = new TerminalSink();
  const setUp = Number(process.env.ELECTRA_SETUP_SECONDS);
  const workDir = given(options["work-dir"], join(root, "quickstart"));
  const reportFile = given(options.report, join(root, "quickstart-report.json"));
  try {
    const report = await runQuickstart({
      workDir,
      cacheDir: join(root, ".cache", "quickstart"),
      reportFile,
      ...(options["corpus-dir"] === undefined ? {} : { corpusDir: given(options["corpus-dir"]) }),
      ...(options.minutes === undefined ? {} : { minutes: options.minutes }),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...(process.env.ELECTRA_SETUP_SECONDS === undefined ? {} : { setUpSeconds: setUp }),
      signal: stop.signal,
      sinks: [sink],
      log: (line) => sink.log(line),
    });
    await sink.close();
    if (report === undefined) {
      console.error("stopped; the same command goes on from here");
      return stoppedBy ?? 1;
    }
    console.log(options.json ? JSON.stringify(report, null, 2) : `\n${formatReport(report)}\n`);
    console.error(`model:  ${report.model}\nreport: ${reportFile}`);
    console.error(
      `\nNext:\n  echo "The people of the United banana are free." | npx electra-native detect --model ${report.model} --top 2`,
    );
    for (const bar of report.bars.filter(({ passed }) => passed === false)) {
      console.error(`error: missed: ${bar.description} (measured ${bar.measured.toFixed(3)})`);
    }
    return report.passed ? 0 : 1;
  } catch (error) {
    await sink.close();
    if (stoppedBy !== undefined) {
      console.error("stopped; the same command goes on from here");
      return stoppedBy;
    }
    console.error(`error: ${error.code === undefined ? (error.stack ?? error) : error.message}`);
    if (error.hint !== undefined) console.error(`  ${error.hint}`);
    return error.exitCode ?? 1;
  }
}

process.exitCode = await main();
