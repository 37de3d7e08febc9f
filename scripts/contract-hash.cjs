// Prints the hash of the contract's headers for binding.gyp, as CMakeLists.txt computes it: what the addon and the
// CUDA library must have in common. CommonJS and without imports from the package: node-gyp runs it through a shell.
const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const hash = createHash("sha256");
for (const header of ["operators.h", "tensor.h", "philox.h", "engine_error.h"]) {
  hash.update(readFileSync(join(__dirname, "..", "native", header)));
}
console.log(`0x${hash.digest("hex").slice(0, 16)}ull`);
