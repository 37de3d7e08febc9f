import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  finetuningDependentDefaults,
  finetuningHparamTable,
} from "../../../src/hparams/finetuning-hparam-table.js";
import { finetuningPresetValues } from "../../../src/hparams/finetuning-presets.js";
import { finetuningHparamNames } from "../../../src/hparams/finetuning-schema.js";
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
      pretraining: { table: pretrainingHparamTable(), presetValues },
      finetuning: {
        table: finetuningHparamTable(),
        dependentDefaults: finetuningDependentDefaults(),
        presetValues: finetuningPresetValues,
      },
      overrides: modelOverridesSchema(),
      info: hparamInfo(),
    });
    expect(readFileSync(new URL("docs/hparams.md", root), "utf8")).toBe(text);
  });

  it("names every hparam, with a meaning", () => {
    const lines = readFileSync(new URL("docs/hparams.md", root), "utf8").split("\n");
    const middle = lines.indexOf("## finetune");
    const all = [
      ...pretrainingHparamNames().map((name) => [name, lines.slice(0, middle)] as const),
      ...finetuningHparamNames().map((name) => [name, lines.slice(middle)] as const),
    ];
    for (const [name, part] of all) {
      expect(part.find((line) => line.startsWith(`| \`${name}\` |`))).toMatch(/\| \S.+ Must be \S.+\. \|$/);
    }
  });
});
