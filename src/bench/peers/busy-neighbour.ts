import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { ElectraError } from "../../errors.js";

/** Another process that computes without end on the first core: what a shared machine is like. */
export class BusyNeighbour implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** @throws ElectraError `ERR_ELECTRA_BENCHMARK` where a process cannot be bound to a core */
  static async start(core = 0): Promise<BusyNeighbour> {
    const program = "console.log('busy'); for (let x = 1; ; ) x = (x * 1103515245 + 12345) % 2147483648;";
    const child = spawn("taskset", ["--cpu-list", String(core), process.execPath, "-e", program], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const started = await Promise.race([
      once(child.stdout, "data").then(() => true),
      new Promise<boolean>((resolve) => {
        child.once("error", () => resolve(false));
        child.once("close", () => resolve(false));
      }),
    ]);
    if (!started) {
      throw new ElectraError("ERR_ELECTRA_BENCHMARK", `taskset could not bind a process to core ${core}`, {
        hint: "It is a part of util-linux; other systems have nothing like it.",
      });
    }
    return new BusyNeighbour(child);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await gone;
  }
}
