import type { EngineInfo } from "../engine/types.js";

/** What a call of `pretrain` did. */
export interface PretrainResult {
  /** `complete`: the steps had all been done before this call. */
  readonly status: "finished" | "interrupted" | "complete";
  readonly step: number;
  readonly checkpoint: string | undefined;
  readonly modelDir: string;
  readonly seconds: number;
  readonly tokens: number;
  readonly info: EngineInfo;
  /** Metrics of the last step of this run; empty if it had none. */
  readonly metrics: Readonly<Record<string, number>>;
}
