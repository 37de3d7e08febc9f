import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { gunzipSync } from "node:zlib";
import { listCorpus } from "../data/corpus-reader.js";
import { ElectraError } from "../errors.js";
import type { SourceDocument } from "./sotu-package.js";

/**
 * The `.txt` and `.gz` files of a folder, sorted by name.
 *
 * @throws ElectraError `ERR_ELECTRA_CORPUS` when there is no text or fewer than two files, `ERR_ELECTRA_TEXT` (not UTF-8)
 */
export async function readOwnCorpus(folder: string): Promise<SourceDocument[]> {
  const { files } = await listCorpus(folder);
  const documents: SourceDocument[] = [];
  for (const { path } of files) {
    const stored = await readFile(path);
    const bytes = path.endsWith(".gz") ? gunzipSync(stored) : stored;
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch (error) {
      throw new ElectraError("ERR_ELECTRA_TEXT", `${path} is not valid UTF-8`, {
        hint: "Convert it, for instance with iconv -t UTF-8.",
        cause: error,
        exitCode: 2,
      });
    }
    documents.push({ name: basename(path), text });
  }
  // Whole documents are held out for the measurement, and some must be left to learn from.
  if (documents.length < 2) {
    throw new ElectraError("ERR_ELECTRA_CORPUS", `${folder} has ${documents.length} text file(s)`, {
      hint: "Give at least two, better twenty, of about one size: one in ten is held out to measure what was learned.",
      exitCode: 2,
    });
  }
  return documents.sort((a, b) => (a.name < b.name ? -1 : 1));
}
