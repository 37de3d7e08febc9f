import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ElectraError } from "../errors.js";
import { packageRoot } from "../package-root.js";
import { type Spread, spreadOf } from "./spread.js";

export interface StartupBenchmarkOptions {
  /** How often each process is started and timed, after once that is not. Default 11. */
  readonly repeat?: number;
  readonly signal?: AbortSignal;
}

/** Milliseconds. */
export interface StartupBenchmark {
  /** `electra-native --help`, from starting the process to its end: the median. */
  readonly help_ms: number;
  /** `import("electra-native")`, timed inside a process that has started. */
  readonly import_ms: number;
  /** A process of Node.js that does nothing. */
  readonly node_ms: number;
  /** What `--help` takes beyond that, run by run. */
  readonly help_over_node_ms: number;
  readonly repeat: number;
  readonly help: Spread;
  readonly import: Spread;
  readonly node: Spread;
}

/**
 * Times the start of the command line and of the library, alternating with a bare Node.js. Files come from the system's cache.
 *
 * @throws ElectraError `ERR_ELECTRA_NOT_BUILT` when a process fails; the signal's reason when aborted
 */
export function benchmarkStartup(options: StartupBenchmarkOptions = {}): StartupBenchmark {
  const { repeat = 11, signal } = options;
  const library = JSON.stringify(pathToFileURL(join(packageRoot, "dist", "index.js")).href);
  const importing = `const t = performance.now(); await import(${library}); console.log(performance.now() - t);`;
  const node: number[] = [];
  const help: number[] = [];
  const imports: number[] = [];
  for (let round = 0; round <= repeat; round++) {
    signal?.throwIfAborted();
    const bare = start(["-e", "0"]).ms;
    const helped = start([join(packageRoot, "scripts", "electra-native.mjs"), "--help"]).ms;
    const imported = Number(start(["--input-type=module", "-e", importing]).stdout);
    if (round === 0) continue; // files came from the disk
    node.push(bare);
    help.push(helped);
    imports.push(imported);
  }
  const spreads = { help: spreadOf(help), import: spreadOf(imports), node: spreadOf(node) };
  return {
    help_ms: spreads.help.median,
    import_ms: spreads.import.median,
    node_ms: spreads.node.median,
    help_over_node_ms: spreadOf(help.map((ms, index) => ms - node[index]!)).median,
    repeat,
    ...spreads,
  };
}

function start(args: readonly string[]): { readonly ms: number; readonly stdout: string } {
  const started = performance.now();
  const { status, stdout, stderr, error } = spawnSync(process.execPath, args, { encoding: "utf8" });
  const ms = performance.now() - started;
  if (error !== undefined || status !== 0) {
    throw new ElectraError("ERR_ELECTRA_NOT_BUILT", `a process did not start: ${error?.message ?? stderr}`, {
      hint: "Run: npx electra-native build",
    });
  }
  return { ms, stdout };
}
