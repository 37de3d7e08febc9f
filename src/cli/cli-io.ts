/** What a command line program touches of its process; tests give their own. */
export interface CliIo {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Where SIGINT and SIGTERM come from. */
  readonly signals: SignalSource;
  /** Ends the process at once, for the second signal. */
  readonly exit: (code: number) => void;
}

export interface SignalSource {
  on(signal: "SIGINT" | "SIGTERM", listener: () => void): unknown;
  off(signal: "SIGINT" | "SIGTERM", listener: () => void): unknown;
}

/** The real process. */
export function processIo(): CliIo {
  // `electra-native … | head` closes our stdout early; that is no failure of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    signals: process,
    exit: (code) => process.exit(code),
  };
}
