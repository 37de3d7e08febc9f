import type { FinetuningHparams } from "../../hparams/finetuning-hparams.js";
import type { Tokenizer } from "../../tokenization/tokenizer.js";

/** What every task of a run is made with. Enough to make the same tasks again in a worker thread. */
export interface TaskSettings {
  readonly hparams: FinetuningHparams;
  /** Of the model that is fine-tuned, with its casing. */
  readonly tokenizer: Tokenizer;
}
