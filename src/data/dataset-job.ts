import { Tokenizer } from "../tokenization/tokenizer.js";
import { Vocabulary } from "../tokenization/vocabulary.js";
import { stripWhiteSpace } from "../tokenization/white-space.js";
import { type CorpusFile, readLines } from "./corpus-reader.js";
import { crc32c } from "./crc32c.js";
import { type BuiltExample, ExampleBuilder } from "./example-builder.js";
import { philox4x32 } from "./philox.js";
import { PretrainingExampleEncoder } from "./pretraining-example.js";
import { SeededRandomSource } from "./random-source.js";
import { SentenceSplitter } from "./sentence-splitter.js";
import { ShardSet, type ShardSummary } from "./shard-set.js";

/** One process's share of a dataset build. Plain data: it is sent to a worker thread. */
export interface DatasetJob {
  /** Number of the job; its random streams depend on it. */
  readonly index: number;
  /** The job's files, sorted; it shuffles them itself. */
  readonly files: readonly CorpusFile[];
  readonly vocabulary: { readonly text: string; readonly source: string };
  readonly maxSeqLength: number;
  readonly lowerCase: boolean;
  readonly stripAccents: boolean;
  readonly blanksSeparateDocs: boolean;
  readonly splitSentences: boolean;
  readonly seed: number;
  readonly heldOutFraction: number;
  /** The job's shards in increasing order of their number. */
  readonly shardPaths: readonly string[];
  /** Files for held-out documents; none when nothing is held out. */
  readonly heldOutPaths: readonly string[];
}

/** What a job counted. */
export interface DatasetCounts {
  /** Input bytes on the disk and files read so far. */
  readonly bytesRead: number;
  readonly filesRead: number;
  readonly documents: number;
  readonly heldOutDocuments: number;
  /** Non-empty lines, or sentences when they are split. */
  readonly sentences: number;
  readonly examples: number;
  readonly heldOutExamples: number;
  /** WordPiece tokens of the text, before anything is thrown away. */
  readonly tokens: number;
  /** Tokens that did not fit into their example; a sixth of good text is usual, as the line that fills an example is cut. */
  readonly discardedTokens: number;
  /** Tokens behind the first `maxSeqLength − 2` of their line: no example could ever have held them. */
  readonly overlongTokens: number;
  /** Tokens that are [UNK]. */
  readonly unknownTokens: number;
}

export interface DatasetJobResult {
  readonly counts: DatasetCounts;
  readonly shards: readonly ShardSummary[];
  readonly heldOutShards: readonly ShardSummary[];
}

// Random streams of job j: 4j file order, 4j + 1 examples, 4j + 2 held-out examples.
const streamsPerJob = 4;

/**
 * Runs one job: shuffles its files, builds examples line by line and writes them round robin to its shards. Deterministic:
 * the same job gives the same bytes.
 *
 * @throws ElectraError as `readLines` and `ShardSet` do
 */
export async function runDatasetJob(
  job: DatasetJob,
  options: { readonly signal?: AbortSignal; readonly onProgress?: (counts: DatasetCounts) => void } = {},
): Promise<DatasetJobResult> {
  const vocabulary = Vocabulary.parse(job.vocabulary.text, { source: job.vocabulary.source });
  const [clsId, sepId, unknownId] = vocabulary.require(["[CLS]", "[SEP]", "[UNK]"]);
  const tokenizer = new Tokenizer({ vocabulary, lowerCase: job.lowerCase, stripAccents: job.stripAccents });
  const encoder = new PretrainingExampleEncoder(job.maxSeqLength);
  const splitter = job.splitSentences ? new SentenceSplitter() : undefined;
  const counts = {
    bytesRead: 0,
    filesRead: 0,
    documents: 0,
    heldOutDocuments: 0,
    sentences: 0,
    examples: 0,
    heldOutExamples: 0,
    tokens: 0,
    discardedTokens: 0,
    overlongTokens: 0,
    unknownTokens: 0,
  };

  const tokenize = (line: string): Int32Array => {
    const ids = tokenizer.encode(line);
    counts.tokens += ids.length;
    counts.overlongTokens += Math.max(0, ids.length - (job.maxSeqLength - 2));
    for (const id of ids) {
      if (id === unknownId) {
        counts.unknownTokens++;
      }
    }
    return ids;
  };
  /** An example builder and the shards that it fills. */
  const makeTarget = (stream: number, paths: readonly string[], count: () => void) => {
    const random = new SeededRandomSource(job.seed, streamsPerJob * job.index + stream);
    const builder = new ExampleBuilder({ maxSeqLength: job.maxSeqLength, clsId, sepId, tokenize, random });
    const shards = new ShardSet(paths);
    return {
      shards,
      feed(line: string): void {
        const example: BuiltExample | undefined = builder.addLine(line);
        if (example !== undefined) {
          count();
          counts.discardedTokens += example.discardedTokens;
          shards.append(encoder.encode(example));
        }
      },
    };
  };
  const training = makeTarget(1, job.shardPaths, () => counts.examples++);
  const heldOut = makeTarget(2, job.heldOutPaths, () => counts.heldOutExamples++);

  const order = new SeededRandomSource(job.seed, streamsPerJob * job.index);
  for (const file of shuffled(job.files, order)) {
    const bytesBefore = counts.bytesRead;
    const nameHash = crc32c(new TextEncoder().encode(file.name));
    let target = training;
    let documentOfFile = 0;
    let inDocument = false;
    const read = readLines(file.path, {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      onRead: (bytes) => {
        counts.bytesRead = bytesBefore + bytes;
      },
    });
    for await (const { lines } of read) {
      for (const line of lines) {
        const stripped = stripWhiteSpace(line);
        if (stripped === "") {
          if (job.blanksSeparateDocs && inDocument) {
            target.feed("");
            inDocument = false;
          }
          continue;
        }
        if (!inDocument) {
          inDocument = true;
          counts.documents++;
          target = training;
          if (
            job.heldOutFraction > 0 &&
            documentDraw(job.seed, nameHash, documentOfFile) < job.heldOutFraction
          ) {
            target = heldOut;
            counts.heldOutDocuments++;
          }
          documentOfFile++;
        }
        if (splitter === undefined) {
          counts.sentences++;
          target.feed(stripped);
        } else {
          for (const sentence of splitter.split(stripped)) {
            counts.sentences++;
            target.feed(sentence);
          }
        }
      }
      options.onProgress?.({ ...counts });
    }
    // No example spans two files.
    target.feed("");
    counts.filesRead++;
    counts.bytesRead = bytesBefore + file.bytes;
    options.onProgress?.({ ...counts });
  }
  return { counts, shards: training.shards.finish(), heldOutShards: heldOut.shards.finish() };
}

function shuffled(files: readonly CorpusFile[], random: SeededRandomSource): CorpusFile[] {
  const result = [...files];
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.randint(0, last);
    const kept = result[last]!;
    result[last] = result[other]!;
    result[other] = kept;
  }
  return result;
}

/**
 * A number in [0, 1) that decides whether a document is held out. It depends on the seed, the file's name and the document's
 * number in it, but not on the number of processes.
 */
function documentDraw(seed: number, nameHash: number, document: number): number {
  const words = new Uint32Array(4);
  // The last word keeps these draws apart from those of `SeededRandomSource`, where it is the stream's upper half.
  philox4x32(
    Uint32Array.of(seed % 2 ** 32, Math.floor(seed / 2 ** 32)),
    Uint32Array.of(document % 2 ** 32, Math.floor(document / 2 ** 32), nameHash, 0xffffffff),
    words,
  );
  return words[0]! / 2 ** 32;
}
