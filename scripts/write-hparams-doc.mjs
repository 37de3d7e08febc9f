// Writes docs/hparams.md from the schema that `pretrain` itself checks hparams with.
//
//   node scripts/write-hparams-doc.mjs          (needs the compiled package: npm run build)
//
// test/unit/hparams/hparams-doc.test.ts fails when the file is out of date.
import { writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Text of docs/hparams.md, made of what the modules of src/hparams (or of dist/hparams) export. */
export function hparamsDocument({ table, overrides, info, presetValues }) {
  const groups = [...new Set(table.map(({ group }) => group))];
  const sections = groups.map((group) => {
    const rows = table
      .filter((entry) => entry.group === group)
      .map(({ name, expects, help, ...rest }) => [
        code(name),
        "default" in rest ? code(JSON.stringify(rest.default)) : "from the folders",
        `${help} Must be ${expects}.`,
      ]);
    return `## ${group}\n\n${markdownTable(["name", "default", "meaning"], rows)}`;
  });
  const overrideRows = Object.entries(overrides.shape).map(([name, field]) => [
    code(name),
    `${field.description ?? ""} Must be ${info.get(field)?.expects ?? ""}.`,
  ]);
  const sizes = ["small", "base", "large"];
  const fixed = sizes.map((size) => presetValues("fixed", size));
  const changed = [...new Set(fixed.flatMap((values) => Object.keys(values)))];
  const presetRows = changed.map((name) => [
    code(name),
    ...fixed.map((values) => (name in values ? code(JSON.stringify(values[name])) : "as google")),
  ]);
  return [
    "# Hyper-parameters of `pretrain`",
    "<!-- Written by scripts/write-hparams-doc.mjs; change the schema in src/hparams and run it again. -->",
    "The names, in the order of the schema, that `--hparams` takes, as a JSON object or as the path of a `.json` file. Names " +
      "and defaults are those of the reference's `run_pretraining.py` but for the last group. An unknown name and a wrong type " +
      "are errors with a suggestion. `pretrain --dry-run` prints what everything resolves to. How the values play together: " +
      "[pretraining.md](pretraining.md).",
    ...sections,
    `## model_hparam_overrides\n\n${markdownTable(["name", "meaning"], overrideRows)}`,
    `## What \`--preset fixed\` changes\n\nDefaults only: what is given in \`--hparams\` wins. The preset \`google\`, the default, changes nothing.\n\n${markdownTable(["name", ...sizes], presetRows)}`,
  ]
    .join("\n\n")
    .concat("\n");
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
  const { modelOverridesSchema } = await load("model-overrides-schema");
  const { hparamInfo } = await load("hparam-field");
  const { presetValues } = await load("pretraining-presets");
  const path = fileURLToPath(new URL("../docs/hparams.md", import.meta.url));
  const text = hparamsDocument({
    table: pretrainingHparamTable(),
    overrides: modelOverridesSchema,
    info: hparamInfo,
    presetValues,
  });
  writeFileSync(path, text);
  console.error(`wrote ${path}`);
}
