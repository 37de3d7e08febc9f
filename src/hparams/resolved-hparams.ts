import type { z } from "zod";
import type { PretrainingSchema } from "./pretraining-schema.js";

/** What the schema makes of given hparams. */
export type ParsedHparams = z.output<PretrainingSchema>;
/** Places whose default follows from data folder and model name. */
export type PlaceName =
  | "pretrain_tfrecords"
  | "vocab_file"
  | "model_dir"
  | "results_txt"
  | "results_pkl"
  | "results_json";

/** All settings of a run, under the reference's names, with nothing left open. */
export type PretrainingHparams = Readonly<Omit<ParsedHparams, PlaceName | "row_mode">> &
  Readonly<Record<PlaceName, string>> & {
    readonly row_mode: "drop" | "keep";
    /** Slots per example, `int((mask_prob + 0.005) * max_seq_length)`. */
    readonly max_predictions_per_seq: number;
    readonly data_dir: string;
    readonly model_name: string;
  };

/** Where a value came from: the schema, the preset, the person, `debug`, or other values. */
export type HparamSource = "default" | "preset" | "hparams" | "debug" | "derived";
