/** Prints one line for people. It is passed in, so that tests can check what is printed. */
export type Log = (line: string) => void;

/** A line in which others' words, such as paths and messages, neither move a cursor nor fake further lines. */
export function printable(line: string): string {
  return line.replaceAll(/\p{Cc}/gu, "?");
}
