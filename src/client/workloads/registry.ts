import { nearest } from "../nearest.ts";
import {
  azure,
  azureFast,
  azureHalf,
  azureScalabilityExp,
  azureSingle,
  azureSmall,
} from "./azure.ts";
import {
  comparisonExperiment2,
  simple,
  simpleParametric,
  simpleSloFactor,
  singleSpam,
  spam,
} from "./closed.ts";
import { example } from "./example.ts";
import {
  burstyExperiment,
  comparisonExperiment,
  fillMemory,
  poissonOpenLoop,
  scalabilityExp1,
} from "./open.ts";
import { ParameterError } from "./parameters.ts";
import { sloExp1, sloExp2 } from "./slo.ts";
import type { Workload } from "./workload.ts";

/** Every workload, in the order in which `client -h` lists them. */
export const workloads: readonly Workload[] = [
  simple,
  simpleSloFactor,
  simpleParametric,
  example,
  fillMemory,
  spam,
  singleSpam,
  poissonOpenLoop,
  scalabilityExp1,
  sloExp1,
  sloExp2,
  comparisonExperiment,
  comparisonExperiment2,
  burstyExperiment,
  azure,
  azureSmall,
  azureHalf,
  azureFast,
  azureSingle,
  azureScalabilityExp,
];

/** @throws {ParameterError} that lists the workloads there are. */
export function findWorkload(name: string): Workload {
  const found = workloads.find((workload) => workload.name === name);
  if (found !== undefined) return found;
  const names = workloads.map((workload) => workload.name);
  const near = nearest(name, names);
  throw new ParameterError(
    `unknown workload \`${name}\`` + (near === null ? "" : `; did you mean \`${near}\`?`) +
      ` (known: ${names.join(", ")})`,
  );
}
