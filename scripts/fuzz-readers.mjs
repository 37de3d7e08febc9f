// node scripts/fuzz-readers.mjs [--count 100000] [--reader name] [--seed 1] [--case N]: feeds damaged files to every reader of
// files that come from elsewhere. Needs dist (npm run build). A case that fails is run again by its seed and number.
import { parseArgs } from "node:util";
import { runFuzz } from "../test/fuzz/run-fuzz.mjs";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "100000" },
    reader: { type: "string" },
    seed: { type: "string", default: "1" },
    case: { type: "string" },
  },
});
const dist = new URL("../dist/", import.meta.url);
const reports = await runFuzz({
  load: (path) => import(new URL(path, dist).href),
  seed: Number(values.seed),
  count: values.case === undefined ? Number(values.count) : 1,
  ...(values.case === undefined ? {} : { from: Number(values.case) }),
  ...(values.reader === undefined ? {} : { only: values.reader }),
  say: (line) => console.log(line),
});
if (reports.length === 0) {
  console.error(`No reader is called ${values.reader}.`);
  process.exit(2);
}
const failures = reports.reduce((sum, report) => sum + report.failures.length, 0);
console.log(`${reports.reduce((sum, { cases }) => sum + cases, 0)} cases, ${failures} failures`);
process.exit(failures > 0 ? 1 : 0);
