/** The loader: the only file that knows where the addon lies and how it is opened. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ElectraError } from "../errors.js";
import type { NativeBinding } from "./native-types.js";

/** Must equal `kAbi` in native/addon/addon.cc. */
const expectedAbi = 4;
const remedy = "npx electra-native build";

// Both src/engine and dist/engine lie two folders below the package.
const packageRoot = fileURLToPath(new URL("../../", import.meta.url));
const builtPaths = ["build/Release/electra_native.node", "build/Debug/electra_native.node"];

let loaded: NativeBinding | undefined;

/**
 * The addon, loaded at the first call. `ELECTRA_NATIVE_ADDON` names another file.
 *
 * @throws ElectraError `ERR_ELECTRA_ADDON_LOAD` with every path tried, each with its reason, and the command that mends it;
 * `ERR_ELECTRA_ADDON_VERSION` if the addon was built for another version of this package
 */
export function loadBinding(): NativeBinding {
  loaded ??= load(process.env["ELECTRA_NATIVE_ADDON"]);
  return loaded;
}

function load(override: string | undefined): NativeBinding {
  const require = createRequire(import.meta.url);
  const paths = override ? [resolve(override)] : builtPaths.map((path) => resolve(packageRoot, path));
  const attempts: string[] = [];
  const causes: unknown[] = [];
  for (const path of paths) {
    if (!existsSync(path)) {
      attempts.push(`${path}: not there`);
      continue;
    }
    let binding: NativeBinding;
    try {
      binding = require(path) as NativeBinding;
    } catch (error) {
      attempts.push(`${path}: ${reasonOf(error)}`);
      causes.push(error);
      continue;
    }
    checkVersion(binding, path);
    return binding;
  }
  const where = `Node ${process.version}, ${process.platform} ${process.arch}`;
  const origin = override ? " (ELECTRA_NATIVE_ADDON)" : "";
  throw new ElectraError(
    "ERR_ELECTRA_ADDON_LOAD",
    `The native engine could not be loaded (${where}). Tried${origin}:\n${attempts.map((line) => `  ${line}`).join("\n")}`,
    {
      hint: override
        ? `Unset ELECTRA_NATIVE_ADDON or let it name a built electra_native.node; ${remedy} builds one.`
        : `Run: ${remedy}`,
      ...(causes.length > 0 ? { cause: causes[0] } : {}),
    },
  );
}

function checkVersion(binding: NativeBinding, path: string): void {
  const manifest = JSON.parse(readFileSync(resolve(packageRoot, "package.json"), "utf8")) as {
    version: string;
  };
  if (binding.version === manifest.version && binding.abi === expectedAbi) return;
  throw new ElectraError(
    "ERR_ELECTRA_ADDON_VERSION",
    `${path} was built for version ${binding.version} (interface ${binding.abi}); this is electra-native ` +
      `${manifest.version} (interface ${expectedAbi}).`,
    { hint: `Rebuild it: ${remedy}` },
  );
}

/** The system's words, with ours where they are known to puzzle. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
  const known: readonly (readonly [RegExp, string])[] = [
    [/GLIBC(XX)?_[\d.]+' not found/, "it was built on a newer system; rebuild it here"],
    [
      /invalid ELF header|wrong ELF class|not a valid Win32|incompatible architecture|file too short/,
      "it is not a library of this system",
    ],
    [/--no-addons|no-addons/, "this process runs with --no-addons"],
    [/undefined symbol/, "it does not fit this Node or system library; rebuild it"],
  ];
  const explanation = known.find(([pattern]) => pattern.test(message))?.[1];
  return explanation === undefined ? message : `${message} (${explanation})`;
}
