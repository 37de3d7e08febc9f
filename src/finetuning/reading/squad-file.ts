import type { z } from "zod";
import { ElectraError } from "../../errors.js";
import { once, zod } from "../../hparams/lazy-zod.js";
import type { QuestionRecord } from "./question-record.js";

const squadFile = once(() => {
  const z = zod();
  const question = z.object({
    id: z.string(),
    question: z.string(),
    is_impossible: z.boolean().optional(),
    answers: z.array(z.object({ text: z.string(), answer_start: z.int() })).default([]),
  });
  return z.object({
    version: z.string().optional(),
    data: z.array(
      z.object({ paragraphs: z.array(z.object({ context: z.string(), qas: z.array(question) })) }),
    ),
  });
});

export interface SquadQuestions {
  /** As the file states it, such as `1.1` or `v2.0`. */
  readonly version: string | undefined;
  readonly questions: readonly QuestionRecord[];
}

export interface SquadFileOptions {
  /** Questions may have no answer (SQuAD 2.0). */
  readonly unanswerable: boolean;
  /** Read only this many paragraphs. */
  readonly paragraphs?: number;
}

/**
 * Questions of a file in the format of SQuAD.
 *
 * @param file path, for messages
 * @throws ElectraError `ERR_ELECTRA_TASK_DATA` for another format, with the place of the first fault
 */
export function squadQuestions(text: string, file: string, options: SquadFileOptions): SquadQuestions {
  const { version, data } = parse(text, file);
  const paragraphs = data.flatMap((article) => article.paragraphs).slice(0, options.paragraphs);
  const questions = paragraphs.flatMap(({ context, qas }) =>
    qas.map(({ id, question: text, answers, is_impossible }): QuestionRecord => {
      const [first] = answers;
      return {
        id,
        question: text,
        context,
        ...(first === undefined ? {} : { answer: { text: first.text, start: first.answer_start } }),
        answers: answers.map((answer) => answer.text),
        impossible: options.unanswerable && (is_impossible ?? false),
        place: `question ${id}`,
      };
    }),
  );
  return { version, questions };
}

function parse(text: string, file: string): z.output<ReturnType<typeof squadFile>> {
  const fault = (reason: string, cause?: unknown) =>
    new ElectraError("ERR_ELECTRA_TASK_DATA", `${file} is not in the format of SQuAD: ${reason}.`, {
      hint: 'The format is {"data": [{"paragraphs": [{"context": …, "qas": [{"id": …, "question": …, "answers": [{"text": …, "answer_start": …}]}]}]}]}.',
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw fault(cause instanceof Error ? cause.message : String(cause), cause);
  }
  const parsed = squadFile().safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw fault(`${issue?.path.join(".") || "the whole"}: ${issue?.message}`);
}
