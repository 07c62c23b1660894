/** Exit codes of commands: 0 success, 1 failure, 2 wrong usage. */

/** Ends the program with a message and an exit code. A command throws it from its action. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** What the user typed, or set in the environment, is wrong. */
export class UsageError extends CliError {
  constructor(message: string) {
    super(message, 2);
  }
}
