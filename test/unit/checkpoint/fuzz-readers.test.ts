import { describe, expect, it } from "vitest";

// 2,000 damaged files for each reader; scripts/fuzz-readers.mjs tries 100,000.
const count = 2000;

interface Report {
  readonly reader: string;
  readonly read: number;
  readonly refused: number;
  readonly failures: readonly { readonly number: number; readonly what: string }[];
}

type Load = (path: string) => Promise<Record<string, unknown>>;

// No module of the compiled package: what is tested are the sources. (A variable keeps the compiler from looking for types.)
const load: Load = (path) => import(/* @vite-ignore */ `../../../src/${path.replace(/\.js$/, ".ts")}`);
const harness = "../../fuzz/run-fuzz.mjs";
const { runFuzz } = (await import(/* @vite-ignore */ harness)) as {
  runFuzz(options: { load: Load; seed: number; count: number; only?: string }): Promise<Report[]>;
};
const { readers } = (await import(/* @vite-ignore */ "../../fuzz/readers.mjs" as string)) as {
  readers: readonly { readonly name: string }[];
};

describe("damaged files", () => {
  it.each(readers.map(({ name }) => name))(
    "of %s are read or refused: no crash, no hang, no large allocation",
    async (only) => {
      const [report] = await runFuzz({ load, seed: 1, count, only });
      expect(report!.failures).toEqual([]);
      expect(report!.read + report!.refused).toBe(count);
      expect(report!.read).toBeGreaterThan(0);
    },
  );
});

describe("the harness", () => {
  const sabotage =
    (path: string, name: string, replacement: unknown): Load =>
    async (asked) =>
      asked === path ? { ...(await load(asked)), [name]: replacement } : await load(asked);
  const module = "checkpoint/tensorflow/find-bundle.js";
  let calls = 0;
  // The undamaged file is read well, or nothing would be tried.
  const later = (action: () => void) => () => {
    if (calls++ > 0) action();
  };

  const sabotages: readonly (readonly [string, () => void, RegExp])[] = [
    [
      "another error",
      () => {
        throw new TypeError("x is not a function");
      },
      /TypeError: x is not a function/,
    ],
    ["a large allocation", () => void new Float64Array(1_000_000), /allocated \d+\.\d times/],
    [
      "a huge allocation, before it is made",
      () => void new Uint8Array(2 ** 33),
      /an allocation of 8589934592 bytes/,
    ],
  ];
  it.each(sabotages)("notices %s", async (_, action, message) => {
    calls = 0;
    const failing = sabotage(module, "parseCheckpointState", later(action));
    const [report] = await runFuzz({ load: failing, seed: 1, count: 3, only: "checkpoint" });
    expect(report!.failures.length).toBeGreaterThanOrEqual(3);
    expect(report!.failures[0]!.what).toMatch(message);
  });
});
