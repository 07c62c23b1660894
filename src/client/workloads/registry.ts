import { nearest } from "../nearest.ts";
import { ParameterError } from "./parameters.ts";
import { simple } from "./simple.ts";
import type { Workload } from "./workload.ts";

/** Every workload, in the order in which `client -h` lists them. */
export const workloads: readonly Workload[] = [simple];

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
