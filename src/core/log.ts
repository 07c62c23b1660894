/** Prints one line for people. It is passed in, so that tests can check what is printed. */
export type Log = (line: string) => void;

/** Replaces control characters, so that others' paths and messages cannot move the cursor or fake lines. */
export function printable(line: string): string {
  return line.replaceAll(/\p{Cc}/gu, "?");
}
