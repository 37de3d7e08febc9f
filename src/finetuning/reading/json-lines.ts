/** One line of a JSON Lines file: its object, or why there is none. */
export interface JsonLine {
  /** Counted from 1. */
  readonly line: number;
  readonly value: Readonly<Record<string, unknown>>;
  readonly fault?: string;
}

/** The objects of a JSON Lines file; blank lines are left out. */
export function jsonLines(text: string): JsonLine[] {
  return text.split("\n").flatMap((content, i): JsonLine[] => {
    if (content.trim() === "") return [];
    const line = i + 1;
    try {
      const value: unknown = JSON.parse(content);
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        return [{ line, value: value as Readonly<Record<string, unknown>> }];
      }
      return [{ line, value: {}, fault: "not a JSON object" }];
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return [{ line, value: {}, fault: `no valid JSON (${reason})` }];
    }
  });
}
