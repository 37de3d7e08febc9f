import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // The addon owns threads; one process per file keeps a crash in one file from hiding the others' results.
    pool: "forks",
    maxWorkers: 2,
    include: ["test/**/*.test.ts"],
    // What is not about devices is about the CPU, also on a machine with a GPU.
    env: { ELECTRA_DEVICE: process.env["ELECTRA_DEVICE"] ?? "cpu" },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
