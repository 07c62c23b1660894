/** Checks of the devices that can run models. */
import { type Clock, MS } from "../../core/clock.ts";
import { describeBytes } from "../../wire/describe.ts";
import { summarize } from "../../worker/check_model.ts";
import { ModelDirs } from "../../worker/model_dirs.ts";
import { NoDeviceError, OnnxBackend } from "../../worker/onnx/onnx_backend.ts";
import { GpuThread } from "../../worker/onnx/gpu_thread.ts";
import type { AdapterSurvey, DeviceTarget } from "../../worker/onnx/protocol.ts";
import { type Check, checksOf } from "./check.ts";

/** A result that is read later than this costs more than many a model. */
const SLOW_ANSWER_MS = 2;

const PROVIDERS = { dawn: "Dawn", deno: "Deno's WebGPU" };
/** What models gain by, where a GPU has it. */
const NOTABLE_FEATURES = ["shader-f16", "subgroups", "timestamp-query"];

const INSTALL_DRIVER =
  "install the GPU's Vulkan driver: sudo apt-get install mesa-vulkan-drivers (AMD, Intel), or " +
  "NVIDIA's own; `vulkaninfo --summary` lists what there is";

const check = checksOf("GPU");

/** Opens each adapter that can be had, and then the device that `worker` would take. */
export async function gpuChecks(clock: Clock, modelDir: string): Promise<Check[]> {
  const adapters: Check[] = [];
  for (const target of await dawnTargets(clock)) adapters.push(await adapter(clock, target));
  adapters.push(await adapter(clock, { kind: "deno", adapter: null }));
  return [await device(clock, modelDir), ...adapters];
}

async function dawnTargets(clock: Clock): Promise<DeviceTarget[]> {
  let names: readonly string[] = [];
  try {
    names = [...new Set(await GpuThread.listAdapters(clock))];
  } catch {
    // The survey of the preferred one will say why.
  }
  if (names.length === 0) return [{ kind: "dawn", adapter: null }];
  return names.map((name) => ({ kind: "dawn", adapter: name }));
}

async function device(clock: Clock, modelDir: string): Promise<Check> {
  try {
    const backend = await OnnxBackend.open(clock, {
      device: "auto",
      modelDirs: ModelDirs.only(modelDir),
    });
    const { devices, passedOver } = backend;
    backend.close();
    const names = devices.map(({ name }) => name).join(", ");
    const gpu = devices[0]!.kind !== "wasm";
    return check(
      "Worker's device",
      gpu ? "ok" : "warning",
      gpu ? names : `${names}: no GPU can be used`,
      INSTALL_DRIVER,
      { devices, passedOver },
    );
  } catch (error) {
    if (!(error instanceof NoDeviceError)) throw error;
    return check("Worker's device", "failed", error.message, INSTALL_DRIVER);
  }
}

async function adapter(clock: Clock, target: DeviceTarget): Promise<Check> {
  const provider = PROVIDERS[target.kind as keyof typeof PROVIDERS];
  let survey: AdapterSurvey;
  try {
    survey = await GpuThread.survey(clock, target);
  } catch (error) {
    return check(provider, "warning", (error as Error).message.trim(), INSTALL_DRIVER);
  }
  return adapterCheck(provider, survey);
}

/** What a survey says, for people. */
export function adapterCheck(provider: string, survey: AdapterSurvey): Check {
  const { name, software, driver, limits, features } = survey;
  const { medianNs, maxNs } = summarize(survey.mapAsyncMs.map((ms) => ms * MS));
  const answersMs = medianNs / MS;
  const notable = NOTABLE_FEATURES.filter((feature) => features.includes(feature));
  const found = [
    `${name}${driver === "" || driver === name ? "" : ` (${driver})`}`,
    ...(software ? ["emulated on the CPU"] : []),
    `buffers up to ${describeBytes(limits["maxBufferSize"] ?? 0)}`,
    `answers in ${answersMs.toFixed(2)} ms (at most ${(maxNs / MS).toFixed(2)})`,
    notable.length === 0 ? `${features.length} features` : `has ${notable.join(", ")}`,
  ].join(", ");
  const slow = answersMs > SLOW_ANSWER_MS;
  return check(
    provider,
    software || slow ? "warning" : "ok",
    found,
    software
      ? `${INSTALL_DRIVER}. Until then the CPU itself is faster, and \`worker\` takes that`
      : "clockwork worker --device dawn: Dawn answers at once",
    survey,
  );
}
