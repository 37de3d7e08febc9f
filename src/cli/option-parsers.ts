import { InvalidArgumentError } from "commander";

/** `true`, `false`, `1` or `0` in any case; `False` means false, unlike in the reference. */
export function parseBoolean(text: string): boolean {
  switch (text.toLowerCase()) {
    case "true":
    case "1":
      return true;
    case "false":
    case "0":
      return false;
    default:
      throw new InvalidArgumentError("Give true, false, 1 or 0.");
  }
}

export function parsePositiveInteger(text: string): number {
  return parseInteger(text, 1);
}

export function parseNonNegativeInteger(text: string): number {
  return parseInteger(text, 0);
}

/** A number from 0 to below 1. */
export function parseFraction(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!(value >= 0 && value < 1)) throw new InvalidArgumentError("Give a number from 0 to below 1.");
  return value;
}

function parseInteger(text: string, lowest: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < lowest) {
    throw new InvalidArgumentError(`Give a whole number of at least ${lowest}.`);
  }
  return value;
}
