/** Prints one line for people. Handed in, so that what is printed can be tested. */
export type Log = (line: string) => void;
