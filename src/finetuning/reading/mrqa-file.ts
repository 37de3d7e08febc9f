import { once, zod } from "../../hparams/lazy-zod.js";
import type { BadRows } from "./bad-rows.js";
import { jsonLines } from "./json-lines.js";
import type { QuestionRecord } from "./question-record.js";

const mrqaLine = once(() => {
  const z = zod();
  return z.object({
    context: z.string(),
    qas: z.array(
      z.object({
        qid: z.string(),
        question: z.string(),
        answers: z.array(z.string()).default([]),
        detected_answers: z
          .array(z.object({ text: z.string(), char_spans: z.array(z.array(z.int()).min(1)).min(1) }))
          .optional(),
      }),
    ),
  });
});

/** While trying things out the reference stops after so many lines. */
const DEBUG_LINES = 11;

/**
 * Questions of a file in the format of MRQA 2019: JSON Lines with a context each. Lines with a field `header` do not count.
 *
 * @param file path, for messages
 */
export function mrqaQuestions(text: string, file: string, debug: boolean, bad: BadRows): QuestionRecord[] {
  return jsonLines(text)
    .slice(0, debug ? DEBUG_LINES : undefined)
    .flatMap(({ line, value, fault }) => {
      if (Object.hasOwn(value, "header")) return [];
      const place = `line ${line}`;
      const parsed = mrqaLine().safeParse(value);
      if (fault !== undefined || !parsed.success) {
        const [issue] = parsed.error?.issues ?? [];
        const reason = fault ?? `${issue?.path.join(".") || "the line"}: ${issue?.message}`;
        bad.report({ file, place, reason, remedy: "A line needs context and qas with qid and question." });
        return [];
      }
      const { context, qas } = parsed.data;
      return qas.map(({ qid, question, answers, detected_answers }): QuestionRecord => {
        const [first] = detected_answers ?? [];
        return {
          id: qid,
          question,
          context,
          ...(first === undefined ? {} : { answer: { text: first.text, start: first.char_spans[0]![0]! } }),
          answers,
          impossible: false,
          place: `${place}, question ${qid}`,
        };
      });
    });
}
