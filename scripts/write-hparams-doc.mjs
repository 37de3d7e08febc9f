// Writes docs/hparams.md from the schemas that `pretrain` and `finetune` themselves check hparams with.
//
//   node scripts/write-hparams-doc.mjs          (needs the compiled package: npm run build)
//
// test/unit/hparams/hparams-doc.test.ts fails when the file is out of date.
import { writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Text of docs/hparams.md, made of what the modules of src/hparams (or of dist/hparams) export. */
export function hparamsDocument({ pretraining, finetuning, overrides, info }) {
  const overrideRows = Object.entries(overrides.shape).map(([name, field]) => [
    code(name),
    `${field.description ?? ""} Must be ${info.get(field)?.expects ?? ""}.`,
  ]);
  return [
    "# Hyper-parameters",
    "<!-- Written by scripts/write-hparams-doc.mjs; change the schemas in src/hparams and run it again. -->",
    "The names, in the order of the schema, that `--hparams` of [`pretrain`](#pretrain) and [`finetune`](#finetune) takes, as a " +
      "JSON object or as the path of a `.json` file. Names and defaults are those of the reference but for groups that say " +
      "otherwise. An unknown name and a wrong type are errors with a suggestion. `--dry-run` prints what everything resolves to.",
    "## pretrain",
    "How the values play together: [pretraining.md](pretraining.md).",
    ...groupSections(pretraining.table),
    pretrainingPreset(pretraining.presetValues),
    "## finetune",
    "How the values play together: [finetuning.md](finetuning.md).",
    ...groupSections(finetuning.table),
    dependentDefaults(finetuning.dependentDefaults),
    finetuningPreset(finetuning.presetValues("fixed")),
    `## model_hparam_overrides\n\n${markdownTable(["name", "meaning"], overrideRows)}`,
  ]
    .join("\n\n")
    .concat("\n");
}

function groupSections(table) {
  return [...new Set(table.map(({ group }) => group))].map((group) => {
    const rows = table
      .filter((entry) => entry.group === group)
      .map(({ name, expects, help, ...rest }) => [
        code(name),
        "default" in rest ? json(rest.default) : "from the folders",
        `${help} Must be ${expects}.`,
      ]);
    return `### ${group}\n\n${markdownTable(["name", "default", "meaning"], rows)}`;
  });
}

function pretrainingPreset(presetValues) {
  const sizes = ["small", "base", "large"];
  const fixed = sizes.map((size) => presetValues("fixed", size));
  const changed = [...new Set(fixed.flatMap((values) => Object.keys(values)))];
  const rows = changed.map((name) => [
    code(name),
    ...fixed.map((values) => (name in values ? json(values[name]) : "as google")),
  ]);
  return `### What \`--preset fixed\` changes\n\nDefaults only: what is given in \`--hparams\` wins. The preset \`google\`, the default, changes nothing.\n\n${markdownTable(["name", ...sizes], rows)}`;
}

function dependentDefaults(entries) {
  const rows = entries.map(({ where, values }) => [
    where,
    Object.entries(values)
      .map(([name, value]) => `${code(name)} ${json(value)}`)
      .join(", "),
  ]);
  return `### Defaults that follow from task and size\n\nThe size is that of the model that training begins with. Several tasks together have no defaults of any one of them.\n\n${markdownTable(["where", "defaults"], rows)}`;
}

function finetuningPreset(values) {
  const rows = Object.entries(values).map(([name, value]) => [code(name), json(value)]);
  return `### What \`--preset fixed\` of finetune changes\n\nDefaults only, as above.\n\n${markdownTable(["name", "default"], rows)}`;
}

function json(value) {
  return code(JSON.stringify(value));
}

function code(text) {
  return `\`${text}\``;
}

function markdownTable(head, rows) {
  // Places are written <data-dir>, which Markdown would take for a tag and hide.
  const cellText = (cell) => cell.replaceAll("|", "\\|").replaceAll("<", "&lt;");
  const line = (cells) => `| ${cells.map(cellText).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const load = (name) => import(new URL(`../dist/hparams/${name}.js`, import.meta.url).href);
  const { pretrainingHparamTable } = await load("pretraining-hparam-table");
  const { finetuningHparamTable, finetuningDependentDefaults } = await load("finetuning-hparam-table");
  const { modelOverridesSchema } = await load("model-overrides-schema");
  const { hparamInfo } = await load("hparam-field");
  const { presetValues } = await load("pretraining-presets");
  const { finetuningPresetValues } = await load("finetuning-presets");
  const path = fileURLToPath(new URL("../docs/hparams.md", import.meta.url));
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
  writeFileSync(path, text);
  console.error(`wrote ${path}`);
}
