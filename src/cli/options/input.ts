/** Options for a model's input, and for the meaning of its outputs. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../exit.ts";
import type { InputFile } from "../input_files.ts";

export interface InputOptions {
  readonly input?: string[];
  readonly mean: number[];
  readonly std: number[];
  readonly labels?: string;
}

/** Larger input files are not read. */
const MAX_INPUT_BYTES = 2 ** 31 - 1;

export function addInputOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--input <[name=]file>",
        "one request's input: raw little-endian, .npy, PNG or JPEG; shows the largest " +
          "outputs (repeatable, with names)",
      ).argParser((text: string, earlier: string[] | undefined) => [...(earlier ?? []), text]),
    )
    .addOption(
      new Option("--mean <r,g,b>", "subtracted from an image's values, which are 0 to 1")
        .argParser(parseNumbers).default([0], "0"),
    )
    .addOption(
      new Option("--std <r,g,b>", "then divides them")
        .argParser(parseDivisors).default([1], "1"),
    )
    .option("--labels <file>", "names of the outputs, one per line");
}

/** The files that the options name. Throws {@link UsageError}. */
export function readInputs({ input }: InputOptions): InputFile[] {
  return input?.map(readInput) ?? [];
}

function parseNumbers(text: string): number[] {
  const numbers = text.split(",").map((part) => part.trim() === "" ? NaN : Number(part));
  if (numbers.some((value) => !Number.isFinite(value)) || ![1, 3].includes(numbers.length)) {
    throw new InvalidArgumentError("Expected one number, or three with commas, one a channel.");
  }
  return numbers;
}

function parseDivisors(text: string): number[] {
  const numbers = parseNumbers(text);
  if (numbers.includes(0)) throw new InvalidArgumentError("Values are divided by it: not 0.");
  return numbers;
}

/** A file that exists is one even if its name has an equals sign. */
export function readInput(text: string): InputFile {
  const split = /^([^=]+)=(.+)$/.exec(text);
  if (split === null || exists(text)) return { input: null, path: text, bytes: readBytes(text) };
  return { input: split[1]!, path: split[2]!, bytes: readBytes(split[2]!) };
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function readBytes(path: string): Uint8Array {
  try {
    const { size } = Deno.statSync(path);
    if (size > MAX_INPUT_BYTES) throw new Error(`it has ${size} bytes, more than any input`);
    return Deno.readFileSync(path);
  } catch (error) {
    throw new UsageError(`cannot read the input ${path}: ${(error as Error).message}`);
  }
}

/** A name for each output, by its index; null where none are given. */
export function readLabels({ labels: path }: InputOptions): string[] | null {
  if (path === undefined) return null;
  try {
    return Deno.readTextFileSync(path).split(/\r?\n/);
  } catch (error) {
    throw new UsageError(`cannot read the labels ${path}: ${(error as Error).message}`);
  }
}
