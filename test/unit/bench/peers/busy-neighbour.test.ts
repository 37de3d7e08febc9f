import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { BusyNeighbour } from "../../../../src/bench/peers/busy-neighbour.js";

const noTaskset = spawnSync("taskset", ["--cpu-list", "0", process.execPath, "-e", "0"]).status !== 0;
const reason = noTaskset ? " (skipped: taskset cannot bind a process to core 0 here)" : "";

describe.skipIf(noTaskset)(`a busy neighbour${reason}`, () => {
  it("computes on its one core until it is let go", async () => {
    const neighbour = await BusyNeighbour.start();
    const folder = `/proc/${neighbour.pid}`;
    try {
      expect(readFileSync(`${folder}/status`, "utf8")).toMatch(/^Cpus_allowed_list:\s+0$/m);
      // Fields 14 and 15: clock ticks in user and system mode; the name before them has no space here.
      const ticks = () => {
        const fields = readFileSync(`${folder}/stat`, "utf8").split(" ");
        return Number(fields[13]) + Number(fields[14]);
      };
      const before = ticks();
      for (let look = 0; look < 100 && ticks() === before; look++) await sleep(100);
      expect(ticks()).toBeGreaterThan(before);
    } finally {
      await neighbour[Symbol.asyncDispose]();
    }
    expect(() => process.kill(neighbour.pid, 0)).toThrow("ESRCH");
  });
});
