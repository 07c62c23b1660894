/** Turns errors of ONNX Runtime into readable messages. */

/** Longer messages are cut: some list a whole graph. */
const MAX_LENGTH = 1000;

/** Where in its sources an error was found: a file, a line, and a function's name or whole signature. */
const SOURCE =
  /\S+\.(?:cc|cpp|h|hpp):\d+ (?:[^()]*\((?:[^()]|\([^()]*\))*\) (?:const )?(?:\[[^\]]*\] )?|\w+ )?/g;

/** The message of anything that was thrown. ONNX Runtime also throws numbers and empty messages. */
export function describeError(error: unknown): string {
  if (typeof error === "number" || typeof error === "bigint") {
    return "ONNX Runtime gave up without saying why; most often memory has run out";
  }
  const message = error instanceof Error ? error.message : String(error);
  // It wraps what was wrong in the name of the function that noticed.
  const inner = /ERROR_MESSAGE: ([^]*)$/.exec(message)?.[1] ?? message;
  const text = inner.replaceAll(/\s+/g, " ").replace(SOURCE, "").trim();
  if (text === "" || /^\d+$/.test(text)) return describeError(0);
  if (/bad_alloc|failed to allocate|out of memory|Array buffer allocation/i.test(text)) {
    return `out of memory: ${text.slice(0, MAX_LENGTH)}`;
  }
  return text.slice(0, MAX_LENGTH);
}
