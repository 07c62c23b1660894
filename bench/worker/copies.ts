/** What a thousand copies of a model take: in time, in host memory and in device memory. */
import type { WeightsMemory } from "../../src/worker/onnx/protocol.ts";
import type { TestBackend } from "../../src/worker/onnx/testing.ts";

const COPIES = 1000;
const WARM_COPIES = 100;

function deviceMemory(backend: TestBackend): Promise<WeightsMemory> {
  return new Promise((resolve, reject) => {
    backend.backend.memory(0, (reply) => {
      if ("status" in reply) reject(new Error(reply.message));
      else resolve(reply);
    });
  });
}

/** Copies are loads of the same file, as LoadModelFromDisk makes them. */
export async function thousandCopies(backend: TestBackend, name: string): Promise<void> {
  // What the file's first load takes does not count.
  backend.backend.unloadModel(await backend.load(name, 1));
  const before = Deno.memoryUsage().rss;
  const beginNs = backend.clock.now();
  const models = await Promise.all(Array.from({ length: COPIES }, () => backend.load(name, 1)));
  const loadMs = (backend.clock.now() - beginNs) / 1e6;
  const after = Deno.memoryUsage().rss;
  const cycle = async (count: number) => {
    for (let i = 0; i < count; i++) {
      await backend.loadWeights(models[i]!, i);
      if (i % 100 === 0) await backend.infer(models[i]!, i, 1, null);
      await backend.evictWeights(models[i]!, i);
    }
    return { rss: Deno.memoryUsage().rss, device: await deviceMemory(backend) };
  };
  const warm = await cycle(WARM_COPIES);
  const done = await cycle(COPIES);
  const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  console.log(
    `${COPIES} copies of a model of ${mb(models[0]!.weightsBytes)}: loaded in ` +
      `${loadMs.toFixed(0)} ms, with ${mb(after - before)} more of host memory.`,
  );
  console.log(
    `  ${COPIES} times LoadWeights and EvictWeights took ${mb(done.rss - warm.rss)} more, and ` +
      `left ${mb(done.device.usedBytes)} of device memory in use and ` +
      `${mb(done.device.freeBytes)} (before: ${mb(warm.device.freeBytes)}) for reuse`,
  );
}
