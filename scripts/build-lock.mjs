import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/**
 * Runs `body` while holding a lock file, so that two installs of the same tree (npm and npx, two terminals) do not build
 * into one folder. A lock whose process is gone is taken over.
 *
 * @param {string} file
 * @param {() => Promise<T>} body
 * @returns {Promise<T>}
 * @template T
 */
export async function withBuildLock(file, body, { patienceSeconds = 1800 } = {}) {
  mkdirSync(dirname(file), { recursive: true });
  const deadline = Date.now() + patienceSeconds * 1000;
  let told = false;
  for (;;) {
    try {
      const handle = openSync(file, "wx");
      writeSync(handle, String(process.pid));
      closeSync(handle);
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const holder = holderOf(file);
    if (holder === "gone") {
      rmSync(file, { force: true });
      continue;
    }
    if (Date.now() > deadline) {
      throw new Error(
        `Another build (process ${holder}) has held ${file} too long. Delete the file if it is not running.`,
      );
    }
    if (!told) console.error(`electra-native: waiting for another build (process ${holder})`);
    told = true;
    await pause(200);
  }
  try {
    return await body();
  } finally {
    rmSync(file, { force: true });
  }
}

function holderOf(file) {
  let text;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return "gone";
  }
  // Created a moment ago and not yet written.
  if (text === "") return "starting";
  try {
    process.kill(Number(text), 0);
    return text;
  } catch (error) {
    return error.code === "EPERM" ? text : "gone";
  }
}
