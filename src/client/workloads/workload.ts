/**
 * What a workload is: a name, parameters, and a plan of which models it needs and which generators
 * send requests to them. A plan knows nothing of connections or printing, so that the same plans run
 * from the command line, in tests, and in the simulator.
 */
import type { Clock } from "../../core/clock.ts";
import type { Random } from "../../core/random.ts";
import type { InferOptions, Model } from "../client.ts";
import type { Done } from "../result.ts";
import { type Parameters, parseParameters, type ValuesOf } from "./parameters.ts";

/** Copies of one model that a workload needs. */
export interface ModelUse {
  /** A name in the model directory, or a path. */
  readonly model: string;
  readonly copies: number;
}

/** What generators have to work with. */
export interface Run {
  readonly clock: Clock;
  readonly random: Random;
  /** True from when the run ends: no generator sends any more. */
  readonly stopped: boolean;
  /** Sends one request and counts what comes of it. */
  infer(model: Model, options: InferOptions, done: Done<Uint8Array>): void;
}

export interface Plan {
  readonly uses: readonly ModelUse[];
  /**
   * Starts the generators, once everything is loaded. `models[i]` are the copies for `uses[i]`.
   * `finished` is called when no more requests are to come; never, when it goes on until stopped.
   */
  start(run: Run, models: readonly (readonly Model[])[], finished: () => void): void;
}

export interface Workload {
  readonly name: string;
  readonly summary: string;
  readonly parameters: Parameters;
  /** Parameters of an example call, as typed after the workload's name. */
  readonly example: string;
  /**
   * Makes the plan for these parameters. `zoo` has the names of all models in the model directory.
   *
   * @throws {ParameterError} naming the parameter that is wrong.
   */
  plan(texts: readonly string[], zoo: readonly string[]): Plan;
}

interface Definition<P extends Parameters> {
  readonly name: string;
  readonly summary: string;
  readonly parameters: P;
  readonly example: string;
  readonly plan: (values: ValuesOf<P>, zoo: readonly string[]) => Plan;
}

/** Makes a workload whose plan gets its parameters checked and typed. */
export function workload<P extends Parameters>(definition: Definition<P>): Workload {
  const { parameters, plan } = definition;
  return { ...definition, plan: (texts, zoo) => plan(parseParameters(parameters, texts), zoo) };
}
