import type { NBestList } from "./nbest-list.js";
import type { ScoredList } from "./rerank.js";
import type { ScoreOptions, TextScorer } from "./text-scorer.js";

/** Lists scored together: enough for full batches, little enough to hold. */
const LISTS_AT_A_TIME = 64;

export interface ScoreNBestOptions extends ScoreOptions {
  /**
   * Put behind every hypothesis before it is scored, and scored with it: a recogniser writes no full stop, where a scorer
   * learned from sentences that have one. Default none.
   */
  readonly suffix?: string;
}

/** Gives every hypothesis its pseudo-log-likelihood. One that stands several times in a list is scored once. */
export async function scoreNBest(
  lists: readonly NBestList[],
  scorer: Pick<TextScorer, "score">,
  options: ScoreNBestOptions = {},
): Promise<ScoredList[]> {
  const scored: ScoredList[] = [];
  for (let first = 0; first < lists.length; first += LISTS_AT_A_TIME) {
    const block = lists.slice(first, first + LISTS_AT_A_TIME);
    const texts = [...new Set(block.flatMap(({ entries }) => entries.map(({ hypothesis }) => hypothesis)))];
    const found = await scorer.score(
      texts.map((text) => text + (options.suffix ?? "")),
      options,
    );
    const byText = new Map(texts.map((text, index) => [text, found[index]!]));
    for (const list of block) {
      const entries = list.entries.map((entry) => {
        const { score, mean } = byText.get(entry.hypothesis)!;
        return { ...entry, likelihood: { score, mean } };
      });
      scored.push({ ...list, entries });
    }
  }
  return scored;
}
