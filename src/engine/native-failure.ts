import { ElectraError } from "../errors.js";

const hints: Readonly<Record<string, string>> = {
  ERR_ELECTRA_OUT_OF_MEMORY: "Use a smaller batch or a smaller model, or give the process more memory.",
  ERR_ELECTRA_NOT_FINITE:
    "Lower the learning rate or lengthen the warm-up, and go on from the last checkpoint.",
  ERR_ELECTRA_GEMM: 'Install oneDNN (Debian: apt-get install libdnnl2) or choose gemm "built-in".',
  ERR_ELECTRA_ISA: 'Choose isa "auto".',
  ERR_ELECTRA_DISPOSED: "Await what is running before dispose().",
};

/**
 * An error of the addon as the shell's own class, its code kept. A message of two lines has the remedy in the second;
 * others get one by their code, where one is known.
 */
export function toElectraError(error: unknown): unknown {
  if (error instanceof ElectraError || !(error instanceof Error)) return error;
  const code: unknown = "code" in error ? error.code : undefined;
  if (typeof code !== "string" || !code.startsWith("ERR_ELECTRA_")) return error;
  const [message, remedy] = splitRemedy(error.message);
  const hint = remedy ?? hints[code];
  return new ElectraError(code as `ERR_ELECTRA_${string}`, message, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** What happened, and what to do about it, of a native message. */
export function splitRemedy(text: string): [message: string, remedy: string | undefined] {
  const end = text.indexOf("\n");
  return end < 0 ? [text, undefined] : [text.slice(0, end), text.slice(end + 1)];
}
