// Writes src/finetuning/task.schema.json, the JSON Schema of a task's description, from the schema that `finetune` itself
// checks descriptions with.
//
//   node scripts/write-task-schema.mjs          (needs the compiled package: npm run build)
//
// test/unit/finetuning/task-description.test.ts fails when the file is out of date.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const { taskJsonSchema } = await import(
  new URL("../dist/finetuning/tasks/task-description.js", import.meta.url).href
);
const path = fileURLToPath(new URL("../src/finetuning/task.schema.json", import.meta.url));
writeFileSync(path, `${JSON.stringify(taskJsonSchema(), null, 2)}\n`);
console.error(`wrote ${path}`);
