import { execFile } from "node:child_process";
import { mkdtemp, open, readFile, rm, statfs } from "node:fs/promises";
import { arch, availableParallelism, cpus, platform, release, totalmem } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { packageVersion } from "../../package-root.js";
import { examineCuda } from "./examine-cuda.js";
import { examineEngine } from "./examine-engine.js";
import type { Finding } from "./finding.js";

const run = promisify(execFile);

export interface ExamineOptions {
  /** Folder to test writing in. */
  readonly dataDir: string;
  readonly signal?: AbortSignal;
}

/** Checks this machine by doing: each finding comes from trying the thing, not from looking for its files. */
export async function examine({ dataDir, signal }: ExamineOptions): Promise<Finding[]> {
  const engine = await examineEngine();
  signal?.throwIfAborted();
  const [cpu, cmake, compiler, nvcc, gpu, disk] = await Promise.all([
    examineCpu(),
    examineTool("cmake", "cmake", ["--version"], "without it the CPU engine is built by node-gyp"),
    examineTool("C++ compiler", process.env["CXX"] ?? "c++", ["--version"], "needed to compile the engine"),
    examineTool("CUDA compiler", process.env["CUDACXX"] ?? "nvcc", ["--version"], "needed for GPUs alone"),
    examineTool(
      "NVIDIA driver",
      "nvidia-smi",
      ["--query-gpu=name,driver_version", "--format=csv,noheader"],
      "no GPU",
    ),
    examineDisk(dataDir),
  ]);
  return [
    examineNode(process.versions.node),
    examineSystem(),
    cpu,
    ...engine,
    compiler,
    cmake,
    nvcc,
    gpu,
    ...(await examineCuda()),
    disk,
  ];
}

const OLDEST_NODE = [20, 19] as const;

/** Exported for tests: whether a version of Node is new enough. */
export function examineNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const enough = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
  const finding = { name: "Node.js", detail: version } as const;
  return enough
    ? { ...finding, status: "ok" }
    : { ...finding, status: "fail", remedy: `install Node.js ${OLDEST_NODE.join(".")} or newer` };
}

function examineSystem(): Finding {
  const memory = (totalmem() / 2 ** 30).toFixed(1);
  const detail = `electra-native ${packageVersion()} on ${platform()} ${release()} ${arch()}, ${memory} GiB memory`;
  return { name: "system", status: "ok", detail };
}

async function examineCpu(): Promise<Finding> {
  const model = cpus()[0]?.model.trim() ?? "unknown";
  const text = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  const flags = new Set(/^flags\s*:\s*(.*)$/m.exec(text)?.[1]?.split(" "));
  const wide = ["avx512f", "avx2", "fma"].filter((flag) => flags.has(flag));
  const threads = availableParallelism();
  const detail = `${model}, ${threads} thread${threads === 1 ? "" : "s"}${wide.length > 0 ? `, ${wide.join(" ")}` : ""}`;
  if (text !== "" && arch() === "x64" && !(flags.has("avx2") && flags.has("fma"))) {
    return {
      name: "CPU",
      status: "warn",
      detail,
      remedy: "without AVX2 the plain kernels run: correct, but slow",
    };
  }
  return { name: "CPU", status: "ok", detail };
}

async function examineTool(
  name: string,
  tool: string,
  args: readonly string[],
  without: string,
): Promise<Finding> {
  try {
    const { stdout } = await run(tool, args, { timeout: 10_000 });
    const lines = stdout.trim().split("\n");
    // nvcc says its version in the last lines, everybody else in the first.
    return { name, status: "ok", detail: lines.find((line) => /\d+\.\d+/.test(line))?.trim() ?? tool };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? `${tool} not found` : `${tool}: ${message.split("\n")[0]}`;
    return { name, status: "warn", detail: `${reason} (${without})` };
  }
}

async function examineDisk(dataDir: string): Promise<Finding> {
  const name = "disk";
  let folder: string | undefined;
  try {
    folder = await mkdtemp(join(dataDir, ".electra-doctor-"));
    const bytes = new Uint8Array(8 << 20);
    const began = performance.now();
    const handle = await open(join(folder, "test"), "wx");
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    const rate = bytes.length / 1e6 / ((performance.now() - began) / 1000);
    const { bavail, bsize } = await statfs(dataDir);
    const free = (bavail * bsize) / 1e9;
    const detail = `${dataDir} is writable, ${rate.toFixed(0)} MB/s, ${free.toFixed(1)} GB free`;
    return free < 1
      ? { name, status: "warn", detail, remedy: "a checkpoint of ELECTRA-Small takes 0.2 GB, of base 1.5 GB" }
      : { name, status: "ok", detail };
  } catch (error) {
    const remedy = `make ${dataDir} writable for this user or give another --data-dir`;
    return { name, status: "fail", detail: (error as Error).message, remedy };
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}
