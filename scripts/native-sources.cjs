// Prints source files of native/sources.json for binding.gyp, one a line: node scripts/native-sources.cjs addon cpu …
// CommonJS and without imports from the package, because node-gyp runs it through a shell in whatever state the tree is.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const lists = JSON.parse(readFileSync(join(__dirname, "..", "native", "sources.json"), "utf8"));
for (const key of process.argv.slice(2)) {
  if (!Array.isArray(lists[key])) {
    console.error(`native/sources.json has no list "${key}"; it has ${Object.keys(lists).join(", ")}`);
    process.exit(1);
  }
  for (const file of lists[key]) console.log(file);
}
