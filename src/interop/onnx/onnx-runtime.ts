import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { ElectraError } from "../../errors.js";
import { packageRoot } from "../../package-root.js";
import type { OnnxType } from "./onnx-types.js";

/** Where to look for onnxruntime-node besides the working folder and this package: a folder with `node_modules`. */
export const RUNTIME_VARIABLE = "ELECTRA_ORT_DIR";

export interface RuntimeTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

/** A model in onnxruntime, on the CPU. */
export interface RuntimeSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** @param feeds int64 tensors by the names of the inputs */
  run(feeds: Readonly<Record<string, RuntimeTensor>>): Promise<Record<string, RuntimeTensor>>;
  release(): Promise<void>;
}

/** onnxruntime-node, which this package works without. */
export interface OnnxRuntime {
  readonly version: string;
  openSession(path: string): Promise<RuntimeSession>;
}

/** The part of onnxruntime-node that is used. */
interface RuntimeModule {
  readonly InferenceSession: {
    create(path: string, options: object): Promise<ModuleSession>;
  };
  readonly Tensor: new (
    type: string,
    data: Float32Array | BigInt64Array,
    dims: readonly number[],
  ) => ModuleTensor;
}
interface ModuleTensor {
  readonly dims: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}
interface ModuleSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Record<string, ModuleTensor>): Promise<Record<string, ModuleTensor>>;
  release(): Promise<void>;
}

/**
 * Looks for onnxruntime-node in the folder that `ELECTRA_ORT_DIR` names, above the working folder and above this package.
 * Undefined where there is none.
 *
 * @throws ElectraError `ERR_ELECTRA_ONNX_RUNTIME` when it is there, but cannot be loaded
 */
export async function findOnnxRuntime(): Promise<OnnxRuntime | undefined> {
  const given = process.env[RUNTIME_VARIABLE];
  const folders = [...(given === undefined ? [] : [given]), ...above(process.cwd()), ...above(packageRoot)];
  for (const folder of folders) {
    const home = join(folder, "node_modules", "onnxruntime-node");
    const text = await readFile(join(home, "package.json"), "utf8").catch(() => undefined);
    if (text === undefined) continue;
    const { version, main } = JSON.parse(text) as { version: string; main: string };
    try {
      const loaded = (await import(pathToFileURL(join(home, main)).href)) as RuntimeModule & {
        readonly default?: RuntimeModule;
      };
      return runtimeOf(version, loaded.default ?? loaded);
    } catch (error) {
      throw new ElectraError(
        "ERR_ELECTRA_ONNX_RUNTIME",
        `onnxruntime-node in ${home} cannot be loaded: ${(error as Error).message}`,
        {
          hint: "Install it again, or remove it: without it the export is checked bit by bit, not run.",
          cause: error,
        },
      );
    }
  }
  return undefined;
}

function runtimeOf(version: string, module: RuntimeModule): OnnxRuntime {
  return {
    version,
    async openSession(path) {
      const session = await module.InferenceSession.create(path, {
        executionProviders: ["cpu"],
        intraOpNumThreads: 2,
        // Fatal ones alone. It would write to the terminal between our lines, and its errors are thrown anyway.
        logSeverityLevel: 4,
      });
      const type: OnnxType = "int64";
      return {
        inputNames: session.inputNames,
        outputNames: session.outputNames,
        async run(feeds) {
          const tensors = Object.entries(feeds).map(
            ([name, { data, shape }]) => [name, new module.Tensor(type, data, shape)] as const,
          );
          const results = await session.run(Object.fromEntries(tensors));
          return Object.fromEntries(
            Object.entries(results).map(([name, { dims, data }]) => [name, { shape: dims, data }]),
          );
        },
        release: () => session.release(),
      };
    },
  };
}

/** A folder and all above it, the nearest first. */
function above(folder: string): string[] {
  const parent = dirname(folder);
  return parent === folder ? [folder] : [folder, ...above(parent)];
}
