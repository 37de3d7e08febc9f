import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { conllSpans } from "../../../src/metrics/conll-spans.js";
import { spansOfTags, type TagSpan, tagsOfSpans } from "../../../src/metrics/tag-spans.js";
import { evaluateConll, spanScores, wordScores } from "../../../src/metrics/tagging-scores.js";

describe("spans of tags", () => {
  it("differ between the reference and conlleval where types change inside a span", () => {
    const tags = ["B-NP", "I-VP", "O", "I-NP", "E-NP", "I-NP"];
    expect(spansOfTags(tags)).toEqual([
      [0, 1, "VP"],
      [3, 5, "NP"],
    ]);
    expect(conllSpans(tags)).toEqual([
      [0, 0, "NP"],
      [1, 1, "VP"],
      [3, 4, "NP"],
      [5, 5, "NP"],
    ]);
  });

  it("survive writing and reading in both schemes", () => {
    const sentence = fc.array(
      fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 3 }), fc.constantFrom("A", "B")),
      {
        minLength: 1,
      },
    );
    fc.assert(
      fc.property(sentence, fc.constantFrom("bio" as const, "bioes" as const), (parts, scheme) => {
        const spans: TagSpan[] = [];
        let at = 0;
        for (const [gap, length, type] of parts) {
          spans.push([at + gap, at + gap + length - 1, type]);
          at += gap + length;
        }
        const tags = tagsOfSpans(at + 1, spans, scheme);
        expect(spansOfTags(tags)).toEqual(spans);
        expect(conllSpans(tags)).toEqual(spans);
      }),
    );
  });

  it("need tags that can be read", () => {
    for (const tag of ["B", "B-X-Y", "NP"]) {
      expect(() => spansOfTags([tag])).toThrowError(expect.objectContaining({ code: "ERR_ELECTRA_TAG" }));
    }
    expect(conllSpans(["B-X-Y"])).toEqual([[0, 0, "X-Y"]]);
    expect(() => conllSpans(["X-Y"])).toThrowError(expect.objectContaining({ code: "ERR_ELECTRA_TAG" }));
  });
});

describe("scores of tags", () => {
  const tags = ["B-NP", "I-NP", "O"];
  const sentence = { labels: [0, 1, 2], predictions: [0, 2, 2], loss: 3 };

  it("can count the loss once", () => {
    expect(Object.fromEntries(spanScores([sentence], tags))).toMatchObject({ f1: 0, loss: 2 });
    expect(Object.fromEntries(wordScores([sentence], { doubledLoss: false }))["loss"]).toBe(1);
  });

  it("are those of conlleval, type by type", () => {
    const result = evaluateConll([
      { gold: ["B-NP", "I-NP", "O", "B-VP"], predicted: ["B-NP", "I-NP", "B-VP", "O"] },
      { gold: ["B-NP"], predicted: ["B-NP"] },
    ]);
    expect(result.accuracy).toBeCloseTo(3 / 5, 12);
    expect(result.f1).toBeCloseTo(2 / 3, 12);
    expect(result.types["NP"]?.f1).toBe(1);
    expect(result.types["VP"]?.f1).toBe(0);
  });
});
