import { Tokenizer } from "../tokenization/tokenizer.js";
import { Vocabulary } from "../tokenization/vocabulary.js";
import { stripWhiteSpace } from "../tokenization/white-space.js";
import { isBlank } from "./blank-line.js";
import { crc32c } from "./crc32c.js";
import { type DatasetCounts, emptyCounts } from "./dataset-counts.js";
import { type BuiltExample, ExampleBuilder } from "./example-builder.js";
import { philox4x32 } from "./philox.js";
import { PretrainingExampleEncoder } from "./pretraining-example.js";
import { SeededRandomSource } from "./random-source.js";
import { SentenceSplitter } from "./sentence-splitter.js";
import { ShardSet, type ShardSetState, type ShardSummary } from "./shard-set.js";

/** Options of {@link DocumentWriter}. Plain data. */
export interface DocumentWriterOptions {
  /** Number of the job; its random streams depend on it. */
  readonly index: number;
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

interface TargetState {
  readonly targetLength: number;
  readonly position: number;
  readonly shards: ShardSetState;
}

/** How far a writer has come between two files: what {@link DocumentWriter.save} gives, as plain data. */
export interface DocumentWriterState {
  readonly counts: DatasetCounts;
  readonly training: TargetState;
  readonly heldOut: TargetState;
}

/** Random streams of job `j`: stream `purpose` is number 4j + its value here. */
const streams = { files: 0, examples: 1, heldOutExamples: 2, documents: 3 } as const;
const streamsPerJob = 4;

/** The random stream of a job for one purpose, from a position on. */
export function jobStream(
  job: { readonly seed: number; readonly index: number },
  purpose: keyof typeof streams,
  position = 0,
): SeededRandomSource {
  return new SeededRandomSource(job.seed, streamsPerJob * job.index + streams[purpose], position);
}

/**
 * Turns the lines of text files into examples in record files: finds the documents, holds some of them out, tokenizes, builds
 * examples and writes them round robin. Deterministic: the same lines give the same bytes.
 */
export class DocumentWriter {
  /** What has been counted; bytes and files are the caller's to count. */
  readonly counts: ReturnType<typeof emptyCounts>;
  readonly #options: DocumentWriterOptions;
  readonly #tokenizer: Tokenizer;
  readonly #unknownId: number;
  /** Takes the ids of a sentence. */
  #ids = new Int32Array(1 << 12);
  readonly #splitter: SentenceSplitter | undefined;
  readonly #training: Target;
  readonly #heldOut: Target;
  #target: Target;
  #nameHash = 0;
  #documentOfFile = 0;
  #inDocument = false;

  /**
   * @param saved the state to go on from, for which {@link DocumentWriter.matches} must hold
   * @throws ElectraError `ERR_ELECTRA_FILE` when record files cannot be made, `ERR_ELECTRA_VOCABULARY_…`
   */
  constructor(options: DocumentWriterOptions, saved?: DocumentWriterState) {
    this.#options = options;
    this.counts = { ...emptyCounts(), ...saved?.counts };
    const { maxSeqLength, lowerCase, stripAccents } = options;
    const vocabulary = Vocabulary.parse(options.vocabulary.text, { source: options.vocabulary.source });
    const [clsId, sepId, unknownId] = vocabulary.require(["[CLS]", "[SEP]", "[UNK]"]);
    this.#tokenizer = new Tokenizer({ vocabulary, lowerCase, stripAccents });
    this.#unknownId = unknownId;
    const encoder = new PretrainingExampleEncoder(maxSeqLength);
    const { maxRecordBytes } = encoder;
    this.#splitter = options.splitSentences ? new SentenceSplitter() : undefined;
    const { counts } = this;
    const makeTarget = (
      random: SeededRandomSource,
      paths: readonly string[],
      state: TargetState | undefined,
      count: () => void,
    ): Target => {
      const builder = new ExampleBuilder({
        maxSeqLength,
        clsId,
        sepId,
        random,
        ...(state === undefined ? {} : { targetLength: state.targetLength }),
      });
      const shards = new ShardSet(paths, state?.shards);
      const write = (example: BuiltExample | undefined): void => {
        if (example !== undefined) {
          count();
          counts.discardedTokens += example.discardedTokens;
          shards.write(maxRecordBytes, (target, at) => encoder.encodeInto(example, target, at));
        }
      };
      return {
        addSentence: (ids, length) => write(builder.addSentence(ids, length)),
        endDocument: () => write(builder.endDocument()),
        save: () => ({
          targetLength: builder.targetLength,
          position: random.position,
          shards: shards.save(),
        }),
        finish: () => shards.finish(),
      };
    };
    this.#training = makeTarget(
      jobStream(options, "examples", saved?.training.position),
      options.shardPaths,
      saved?.training,
      () => counts.examples++,
    );
    this.#heldOut = makeTarget(
      jobStream(options, "heldOutExamples", saved?.heldOut.position),
      options.heldOutPaths,
      saved?.heldOut,
      () => counts.heldOutExamples++,
    );
    this.#target = this.#training;
  }

  /** Whether the record files hold at least what a saved state counts. */
  static matches(options: DocumentWriterOptions, saved: DocumentWriterState): boolean {
    return (
      ShardSet.matches(options.shardPaths, saved.training.shards) &&
      ShardSet.matches(options.heldOutPaths, saved.heldOut.shards)
    );
  }

  /** Begins a file. @param name decides with the seed which of its documents are held out */
  beginFile(name: string): void {
    this.#nameHash = crc32c(new TextEncoder().encode(name));
    this.#documentOfFile = 0;
    this.#inDocument = false;
    this.#target = this.#training;
  }

  /**
   * Takes the next lines of the file, UTF-8 with `\n` between them.
   *
   * @throws ElectraError `ERR_ELECTRA_FILE`, for example on a full disk
   */
  lines(text: Buffer): void {
    for (let start = 0; start <= text.length; ) {
      const lineBreak = text.indexOf(0x0a, start);
      const end = lineBreak < 0 ? text.length : lineBreak;
      this.#line(text, start, end);
      start = end + 1;
    }
  }

  /** Ends the file: no example spans two files. */
  endFile(): void {
    this.#target.endDocument();
  }

  /** Writes what is held back and tells how to go on from here; only between two files. */
  save(): DocumentWriterState {
    return { counts: { ...this.counts }, training: this.#training.save(), heldOut: this.#heldOut.save() };
  }

  /** Writes what is held back and tells what the record files hold. */
  finish(): { readonly shards: readonly ShardSummary[]; readonly heldOutShards: readonly ShardSummary[] } {
    return { shards: this.#training.finish(), heldOutShards: this.#heldOut.finish() };
  }

  #line(text: Buffer, start: number, end: number): void {
    if (isBlank(text, start, end)) {
      if (this.#options.blanksSeparateDocs && this.#inDocument) {
        this.#target.endDocument();
        this.#inDocument = false;
      }
      return;
    }
    if (!this.#inDocument) {
      this.#beginDocument();
    }
    // White space at the ends of a line makes no difference to its tokens.
    if (this.#splitter === undefined) {
      this.#sentence(text, start, end);
    } else {
      for (const sentence of this.#splitter.split(stripWhiteSpace(text.toString("utf8", start, end)))) {
        const bytes = Buffer.from(sentence);
        this.#sentence(bytes, 0, bytes.length);
      }
    }
  }

  #sentence(text: Uint8Array, start: number, end: number): void {
    const { counts } = this;
    if (end - start > this.#ids.length) {
      this.#ids = new Int32Array(2 * (end - start));
    }
    const ids = this.#ids;
    const length = this.#tokenizer.encodeInto(text, start, end, ids, 0);
    counts.sentences++;
    counts.tokens += length;
    counts.overlongTokens += Math.max(0, length - (this.#options.maxSeqLength - 2));
    const unknownId = this.#unknownId;
    let unknown = 0;
    for (let index = 0; index < length; index++) {
      if (ids[index] === unknownId) unknown++;
    }
    counts.unknownTokens += unknown;
    this.#target.addSentence(ids, length);
  }

  #beginDocument(): void {
    const { seed, heldOutFraction } = this.#options;
    this.#inDocument = true;
    this.counts.documents++;
    this.#target = this.#training;
    if (heldOutFraction > 0 && documentDraw(seed, this.#nameHash, this.#documentOfFile) < heldOutFraction) {
      this.#target = this.#heldOut;
      this.counts.heldOutDocuments++;
    }
    this.#documentOfFile++;
  }
}

/** An example builder and the shards that it fills. */
interface Target {
  addSentence(ids: Int32Array, length: number): void;
  endDocument(): void;
  save(): TargetState;
  finish(): readonly ShardSummary[];
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
