/**
 * Parameters of workloads: given in order on the command line, each described and checked once.
 */

/** A parameter that is missing or wrong. The message names it and says what was expected. */
export class ParameterError extends Error {
  override readonly name = "ParameterError";
}

export interface Parameter<T> {
  readonly description: string;
  /** What is used when the parameter is left out, as it would be typed; null if it is required. */
  readonly fallback: string | null;
  /** Returns the value, or throws an Error that says what was expected. */
  readonly parse: (text: string) => T;
}

export type Parameters = Readonly<Record<string, Parameter<unknown>>>;

export type ValuesOf<P extends Parameters> = {
  readonly [K in keyof P]: P[K] extends Parameter<infer T> ? T : never;
};

/** Reads the texts as the parameters, in the order in which `parameters` names them. */
export function parseParameters<P extends Parameters>(
  parameters: P,
  texts: readonly string[],
): ValuesOf<P> {
  const names = Object.keys(parameters);
  if (texts.length > names.length) {
    const takes = names.length === 0 ? "none" : `at most ${names.length}: ${usage(parameters)}`;
    throw new ParameterError(
      `unexpected parameter ${JSON.stringify(texts[names.length])}; it takes ${takes}`,
    );
  }
  const values: Record<string, unknown> = {};
  for (const [i, name] of names.entries()) {
    const { fallback, parse } = parameters[name]!;
    const text = texts[i] ?? fallback;
    if (text === null) {
      throw new ParameterError(`parameter ${name} is missing; usage: ${usage(parameters)}`);
    }
    try {
      values[name] = parse(text);
    } catch (error) {
      throw new ParameterError(
        `parameter ${name} is ${JSON.stringify(text)}, expected ${(error as Error).message}`,
      );
    }
  }
  return values as ValuesOf<P>;
}

/** The parameters as a command line shows them, e.g. "copies [model=resnet50_v2]". */
export function usage(parameters: Parameters): string {
  return Object.entries(parameters)
    .map(([name, { fallback }]) => fallback === null ? name : `[${name}=${fallback}]`)
    .join(" ");
}

/** The name of a model in the model directory, or a path to one. */
export function model(description: string, fallback: string | null): Parameter<string> {
  const parse = (text: string) => {
    if (text === "" || text.includes("\0")) throw new Error("the name of a model");
    return text;
  };
  return { description, fallback, parse };
}

/** A whole number in [min, max]. */
export function integer(
  description: string,
  fallback: number | null,
  min: number,
  max: number,
): Parameter<number> {
  const parse = (text: string) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max)) throw new Error(`a whole number from ${min} to ${max}`);
    return value;
  };
  return { description, fallback: fallback === null ? null : `${fallback}`, parse };
}

/** A number more than 0 and at most `max`. */
export function positive(
  description: string,
  fallback: number | null,
  max: number,
): Parameter<number> {
  const parse = (text: string) => {
    const value = /^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
    if (!(value > 0 && value <= max)) throw new Error(`a number more than 0, at most ${max}`);
    return value;
  };
  return { description, fallback: fallback === null ? null : `${fallback}`, parse };
}

/** Any number within ±`max`: a step, which may go down. */
export function signed(description: string, max: number): Parameter<number> {
  const parse = (text: string) => {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
    if (!(Math.abs(value) <= max)) throw new Error(`a number from -${max} to ${max}`);
    return value;
  };
  return { description, fallback: null, parse };
}

/** One of some words. */
export function choice<const C extends readonly string[]>(
  description: string,
  choices: C,
): Parameter<C[number]> {
  const parse = (text: string): C[number] => {
    if (!choices.includes(text)) throw new Error(choices.join(" or "));
    return text;
  };
  return { description, fallback: null, parse };
}

/** 0 or 1. */
export function flag(description: string, fallback: boolean): Parameter<boolean> {
  const parse = (text: string) => {
    if (text !== "0" && text !== "1") throw new Error("0 or 1");
    return text === "1";
  };
  return { description, fallback: fallback ? "1" : "0", parse };
}

/** For what is wrong with parameters together: says it as {@link parseParameters} would. */
export function refuseParameter(name: string, value: unknown, expected: string): ParameterError {
  return new ParameterError(
    `parameter ${name} is ${JSON.stringify(`${value}`)}, expected ${expected}`,
  );
}
