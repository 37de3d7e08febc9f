import type { EngineTaskHead } from "../../engine/finetuning-types.js";
import type { TaskHead } from "../task.js";

/** The head as the engine builds it: it knows numbers of classes, not their names. */
export function engineHead(head: TaskHead): EngineTaskHead {
  switch (head.kind) {
    case "classification":
    case "multi-label":
    case "tagging":
      return { kind: head.kind, classes: head.labels.length };
    case "regression":
      return { kind: "regression" };
    case "span":
      return head;
  }
}
