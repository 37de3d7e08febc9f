// Feeds damaged files to the readers. Each case must be read or refused with an ElectraError, soon, and without allocating more
// than the file accounts for.
import { performance } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import { AllocationCounter } from "./allocations.mjs";
import { Random } from "./random.mjs";
import { readers } from "./readers.mjs";

/** Buffers of one operation (opening, reading a tensor): so many times the size of the files. */
const mostTimes = 16;
/** Below this nothing is counted: tables of constant size, a few bytes to look at. */
const floorBytes = 4096;
/** What the objects of one case may add to JavaScript's heap, before any collection. */
const mostHeap = 32 * 2 ** 20;
const mostSeconds = 2;

/**
 * @param {{ load: (path: string) => Promise<any>, seed: number, count: number, only?: string, from?: number,
 *   say?: (line: string) => void }} options `load` imports a module of the package by its path in dist
 * @returns {Promise<{ reader: string, cases: number, read: number, refused: number, failures: object[], mostTimes: number,
 *   seconds: number }[]>}
 */
export async function runFuzz({ load, seed, count, only, from = 0, say = () => {} }) {
  const { ElectraError } = await load("errors.js");
  const reports = [];
  for (const { name, prepare } of readers) {
    if (only !== undefined && only !== name) continue;
    const { originals, mutate, read } = await prepare(load);
    // What is refused undamaged would be refused damaged, and nothing would be tried.
    const nothing = () => {};
    for (const files of originals) await read(files, nothing, nothing);
    const counter = new AllocationCounter(64 * 2 ** 20);
    const report = {
      reader: name,
      cases: count,
      read: 0,
      refused: 0,
      failures: [],
      mostTimes: 0,
      seconds: 0,
    };
    const began = performance.now();
    for (let number = from; number < from + count; number++) {
      const files = mutate(new Random(seed, name, number));
      const size = Object.values(files).reduce((sum, bytes) => sum + bytes.length, 0);
      const fail = (what) => {
        report.failures.push({ reader: name, seed, number, what });
        say(`FAIL ${name} case ${number}: ${what}`);
      };
      const started = performance.now();
      const heap = getHeapStatistics().used_heap_size;
      let worst = 0;
      // Called after each operation, so that what was allocated before and may be gone is not added up.
      const operationDone = () => {
        if (counter.bytes > floorBytes) worst = Math.max(worst, counter.bytes / Math.max(size, 1));
        counter.reset();
      };
      counter.reset();
      counter.install();
      let outcome;
      try {
        await read(files, operationDone, () => counter.reset());
      } catch (error) {
        outcome = error;
      } finally {
        counter.uninstall();
      }
      if (counter.stopped !== undefined) fail(counter.stopped.message);
      operationDone();
      if (outcome === undefined) report.read++;
      else if (outcome instanceof ElectraError && outcome.message.length > 0) report.refused++;
      else fail(outcome?.stack ?? String(outcome));
      if (worst * size > floorBytes && worst > mostTimes)
        fail(`allocated ${worst.toFixed(1)} times the files' ${size} bytes`);
      report.mostTimes = Math.max(report.mostTimes, worst);
      const grown = getHeapStatistics().used_heap_size - heap;
      if (grown > mostHeap) fail(`the heap grew by ${grown} bytes for files of ${size}`);
      const seconds = (performance.now() - started) / 1000;
      if (seconds > mostSeconds) fail(`took ${seconds.toFixed(1)} s`);
      if (report.failures.length >= 20) break;
    }
    report.seconds = (performance.now() - began) / 1000;
    reports.push(report);
    say(
      `${report.failures.length === 0 ? "PASS" : "FAIL"} ${name}: ${report.read} read, ${report.refused} refused, ` +
        `${report.failures.length} failures, at most ${report.mostTimes.toFixed(1)} times the file in buffers, ${report.seconds.toFixed(1)} s`,
    );
  }
  return reports;
}
