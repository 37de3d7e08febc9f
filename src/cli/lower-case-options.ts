import { type Command, Option } from "commander";

/** What the reference's two pairs of switches say; both default to true. */
export interface LowerCaseOptions {
  readonly lowerCase: boolean;
  readonly stripAccents: boolean;
}

/** `--do-lower-case`, `--no-lower-case`, `--do-strip-accents`, `--no-strip-accents`, as in the reference. */
export function addLowerCaseOptions(command: Command): Command {
  return command
    .addOption(new Option("--do-lower-case", "lower-case the text (the default)").conflicts("lowerCase"))
    .addOption(new Option("--no-lower-case", "keep upper case"))
    .addOption(
      new Option("--do-strip-accents", "strip accents when lower-casing (the default)").conflicts(
        "stripAccents",
      ),
    )
    .addOption(new Option("--no-strip-accents", "keep accents"));
}
