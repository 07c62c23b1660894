/** Queries an adapter's capabilities, and measures its response time. */
import { findAdapter } from "./device.ts";
import type { AdapterSurvey, DeviceTarget } from "./protocol.ts";

/** Round trips that are timed, after as many that are not. */
const ROUND_TRIPS = 20;

/**
 * Surveys an adapter. It makes a device of its own, so the thread cannot open one afterwards.
 *
 * @throws when there is no such adapter, or no WebGPU.
 */
export async function surveyAdapter(
  { kind, adapter: wanted }: DeviceTarget,
): Promise<AdapterSurvey> {
  if (kind === "wasm") throw new Error("the CPU is no adapter");
  const { adapter, name, software } = await findAdapter(kind, wanted);
  const { vendor, architecture, description } = adapter.info;
  const device = await adapter.requestDevice();
  const mapAsyncMs: number[] = [];
  try {
    const from = device.createBuffer({ size: 4, usage: GPUBufferUsage.COPY_SRC });
    const to = device.createBuffer({
      size: 4,
      usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
    for (let i = 0; i < 2 * ROUND_TRIPS; i++) {
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(from, 0, to, 0, 4);
      const beginMs = performance.now();
      device.queue.submit([encoder.finish()]);
      await to.mapAsync(GPUMapMode.READ);
      const tookMs = performance.now() - beginMs;
      to.unmap();
      if (i >= ROUND_TRIPS) mapAsyncMs.push(tookMs);
    }
  } finally {
    device.destroy();
  }
  return {
    name,
    software,
    vendor,
    architecture,
    driver: description,
    limits: limitsOf(adapter.limits),
    features: [...adapter.features].sort(),
    mapAsyncMs,
  };
}

/** Limits are getters of the prototype, of which some engines have more than others. */
function limitsOf(limits: GPUSupportedLimits): Record<string, number> {
  const names = Object.keys(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(limits)));
  const values = limits as unknown as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    [...new Set([...names, ...Object.keys(limits)])].sort().flatMap((name) => {
      const value = values[name];
      return typeof value === "number" ? [[name, value]] : [];
    }),
  );
}
