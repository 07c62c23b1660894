/** A longer line is cut into several, so that a process without line ends costs no memory. */
const MAX_LINE = 16_384;

/** Calls `onLine` for each line of a stream of UTF-8; resolves at its end. */
export async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop()!;
    for (const line of lines) onLine(line);
    if (rest.length > MAX_LINE) {
      onLine(rest);
      rest = "";
    }
  }
  if (rest !== "") onLine(rest);
}
