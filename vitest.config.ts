import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // The addon owns threads; one process per file keeps a crash in one file from hiding the others' results.
    pool: "forks",
    maxWorkers: 2,
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
