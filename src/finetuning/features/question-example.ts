import { isWhiteSpace, stripWhiteSpace } from "../../tokenization/white-space.js";
import type { QuestionRecord } from "../reading/question-record.js";
import type { TaskExample } from "../task.js";
import { contextWords } from "./context-words.js";

/** A question about a context of words. */
export interface QuestionExample extends TaskExample {
  readonly id: string;
  readonly question: string;
  readonly words: readonly string[];
  /** What training is to find; "" without an answer and where answers are not read. */
  readonly answerText: string;
  /** Words of the answer; −1 if there is none, null where answers are not read. */
  readonly startWord: number | null;
  readonly endWord: number | null;
  /** The question has no answer. */
  readonly impossible: boolean;
}

/** Why an answer cannot be trained on. */
export interface LostAnswer {
  readonly reason: string;
}

/**
 * Makes an example of a question.
 *
 * @param training whether the answer is looked for: the first one, which must stand where the data say
 */
export function questionExample(
  record: QuestionRecord,
  eid: number,
  training: boolean,
): QuestionExample | LostAnswer {
  const { id, question, context } = record;
  const { words, wordOfCharacter } = contextWords(context);
  const base = { eid, id, question, words };
  if (!training) {
    return { ...base, answerText: "", startWord: null, endWord: null, impossible: false };
  }
  if (record.impossible) return { ...base, answerText: "", startWord: -1, endWord: -1, impossible: true };
  if (record.answer === undefined) return { reason: "the question has no answer to learn" };
  const { text, start } = record.answer;
  const startWord = wordOfCharacter[start];
  const endWord = wordOfCharacter[start + [...text].length - 1];
  if (startWord === undefined || endWord === undefined) {
    return { reason: `the answer ${JSON.stringify(text)} at character ${start} reaches beyond the context` };
  }
  const found = words.slice(startWord, endWord + 1).join(" ");
  if (!found.toLowerCase().includes(collapsed(text).toLowerCase())) {
    return {
      reason: `could not find the answer ${JSON.stringify(text)} at character ${start}, where ${JSON.stringify(found)} is`,
    };
  }
  return { ...base, answerText: text, startWord, endWord, impossible: false };
}

/** White space of any kind and length becomes one space, none at the ends. */
export function collapsed(text: string): string {
  let result = "";
  let gap = false;
  for (const character of stripWhiteSpace(text)) {
    if (isWhiteSpace(character.charCodeAt(0))) gap = true;
    else {
      result += gap ? ` ${character}` : character;
      gap = false;
    }
  }
  return result;
}
