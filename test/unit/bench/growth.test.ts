import { describe, expect, it } from "vitest";
import { generateLanguage, generateText } from "../../../src/bench/growth/generated-text.js";
import { plotSvg } from "../../../src/bench/growth/line-plot.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";

describe("a language that is made up", () => {
  const language = generateLanguage(1000);
  const text = [...generateText(language, 300_000)].join("");

  it("is the same every time, as long as asked for, and cut into documents", () => {
    expect([...generateText(language, 300_000)].join("")).toBe(text);
    expect(text.length).toBeGreaterThanOrEqual(300_000);
    expect(text.length).toBeLessThan(300_300);
    const documents = text.trim().split("\n\n");
    expect(documents.length).toBeGreaterThan(100);
    for (const document of documents.slice(0, -1)) expect(document.split("\n").length).toBe(20);
  });

  it("can be written with its vocabulary, frequent words whole", () => {
    const vocabulary = Vocabulary.parse(language.vocabulary, { source: "generated" });
    const tokenizer = new Tokenizer({ vocabulary });
    const line = text.slice(0, text.indexOf("\n"));
    const tokens = [...tokenizer.encode(line)].map((id) => vocabulary.tokens[id]);
    expect(tokens).not.toContain("[UNK]");
    expect(tokens.join(" ").replaceAll(" ##", "").replace(" .", ".")).toBe(line);
  });

  it("uses the r-th word as often as 1 / r", () => {
    const counts = new Map<string, number>();
    for (const word of text.split(/[\s.]+/)) counts.set(word, (counts.get(word) ?? 0) + 1);
    const of = (rank: number) => counts.get(language.words[rank - 1]!) ?? 0;
    // A rank r is drawn for logarithms from log r to log (r + 1).
    expect(of(1) / of(2)).toBeCloseTo(Math.log(2) / Math.log(3 / 2), 0);
    expect(of(1)).toBeGreaterThan(of(10));
    expect(of(10)).toBeGreaterThan(of(200));
  });
});

describe("a plot", () => {
  const plot = { title: "length & cost", xLabel: "tokens", yLabel: "tokens/s" };

  it("puts each point where its axes say", () => {
    const points = [
      [128, 50],
      [256, 100],
      [512, 0],
    ] as const;
    const svg = plotSvg([{ ...plot, series: [{ name: "a", points }] }]);
    const circles = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map((m) => [
      Number(m[1]),
      Number(m[2]),
    ]);
    // Logarithmic across: 256 lies in the middle of 128 and 512. Linear upward from 0.
    expect(circles[1]![0]).toBeCloseTo((circles[0]![0]! + circles[2]![0]!) / 2, 6);
    expect(circles[0]![1]).toBeCloseTo((circles[1]![1]! + circles[2]![1]!) / 2, 6);
    expect(svg).toContain(">length &amp; cost</text>");
    expect(svg).toContain("<title>length &amp; cost</title>");
  });

  it("bears one point, and none", () => {
    const svg = plotSvg([
      { ...plot, series: [{ name: "a", points: [[1, 1]] }] },
      { ...plot, series: [] },
    ]);
    expect(svg).not.toMatch(/NaN|Infinity/);
    expect(svg).toContain("nothing measured");
  });
});
