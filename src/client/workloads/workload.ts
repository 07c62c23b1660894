/**
 * A workload is a name, parameters, and a plan: which models it needs, and which generators send requests
 * to them. A plan knows nothing of connections or printing, so that the same plans run from the command
 * line, in tests, and in the simulator.
 */
import type { Clock } from "../../core/clock.ts";
import type { Random } from "../../core/random.ts";
import type { InferOptions, Model } from "../model.ts";
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
  /** Sends one request and counts what comes of it: for loops that wait for the answer. */
  infer(model: Model, options: InferOptions, done: Done<Uint8Array>): void;
  /**
   * Sends a request that was due `lateNs` ago and counts what comes of it: for loops that do not wait.
   * Drops and counts it when too many wait for answers already, when the network cannot take it, or
   * when it is far too late, so that a load that is too much costs a bounded amount of memory.
   */
  offer(model: Model, options: InferOptions, lateNs: number): void;
}

export interface Plan {
  readonly uses: readonly ModelUse[];
  /** What the user should know of this plan beforehand, a line each. */
  readonly notes?: readonly string[];
  /**
   * Starts the generators, once everything is loaded. `models[i]` are the copies for `uses[i]`.
   * `finished` is called when no more requests are to come; never, when it goes on until stopped.
   */
  start(run: Run, models: readonly (readonly Model[])[], finished: () => void): void;
}

/** What a plan may depend on besides its parameters. */
export interface Surroundings {
  /** Names of all models in the model directory. */
  readonly zoo: readonly string[];
  /** Where the files of the Azure trace are; null when the user has not said. */
  readonly azureTraceDir: string | null;
}

export interface Workload {
  readonly name: string;
  readonly summary: string;
  readonly parameters: Parameters;
  /** Parameters of an example call. */
  readonly example: readonly string[];
  /**
   * Makes the plan for these parameters.
   *
   * @throws {ParameterError} naming the parameter that is wrong.
   */
  plan(texts: readonly string[], surroundings: Surroundings): Plan;
}

interface Definition<P extends Parameters> {
  readonly name: string;
  readonly summary: string;
  readonly parameters: P;
  /** Parameters of an example call, as typed after the workload's name. */
  readonly example: string;
  readonly plan: (values: ValuesOf<P>, surroundings: Surroundings) => Plan;
}

/** Makes a workload whose plan gets its parameters checked and typed. */
export function workload<P extends Parameters>(definition: Definition<P>): Workload {
  const { parameters, plan } = definition;
  return {
    ...definition,
    example: definition.example.split(" ").filter((text) => text !== ""),
    plan: (texts, surroundings) => plan(parseParameters(parameters, texts), surroundings),
  };
}
