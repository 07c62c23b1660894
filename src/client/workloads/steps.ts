import { type Steps, stepValues } from "../generators/segments.ts";
import { refuseParameter } from "./parameters.ts";

/**
 * The values of some steps.
 *
 * @throws {ParameterError} naming `parameter`, which holds the step, when they do not lead to the end.
 */
export function checkedSteps(parameter: string, steps: Steps): number[] {
  try {
    return stepValues(steps);
  } catch (error) {
    throw refuseParameter(parameter, steps.by, (error as Error).message);
  }
}
