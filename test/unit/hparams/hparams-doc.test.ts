import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { hparamInfo } from "../../../src/hparams/hparam-field.js";
import { modelOverridesSchema } from "../../../src/hparams/model-overrides-schema.js";
import { pretrainingHparamTable } from "../../../src/hparams/pretraining-hparam-table.js";
import { presetValues } from "../../../src/hparams/pretraining-presets.js";
import { pretrainingHparamNames } from "../../../src/hparams/pretraining-schema.js";

const root = new URL("../../../", import.meta.url);

describe("docs/hparams.md", () => {
  it("is what scripts/write-hparams-doc.mjs writes of the present schema", async () => {
    const { hparamsDocument } = (await import(new URL("scripts/write-hparams-doc.mjs", root).href)) as {
      hparamsDocument: (parts: object) => string;
    };
    const text = hparamsDocument({
      table: pretrainingHparamTable(),
      overrides: modelOverridesSchema,
      info: hparamInfo,
      presetValues,
    });
    expect(readFileSync(new URL("docs/hparams.md", root), "utf8")).toBe(text);
  });

  it("names every hparam, with a meaning", () => {
    const lines = readFileSync(new URL("docs/hparams.md", root), "utf8").split("\n");
    for (const name of pretrainingHparamNames) {
      expect(lines.find((line) => line.startsWith(`| \`${name}\` |`))).toMatch(/\| \S.+ Must be \S.+\. \|$/);
    }
  });
});
