/** How a command ends: 0 it did what was asked, 1 it failed, 2 it was asked for something wrong. */

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
