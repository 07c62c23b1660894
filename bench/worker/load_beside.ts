/** What loading the weights of a large model costs the inferences of another beside it. */
import type { DeviceKind } from "../../src/worker/onnx/protocol.ts";
import { UPLOAD_CHUNK_BYTES } from "../../src/worker/onnx/paged_weights.ts";
import { randomBlob, type TestBackend } from "../../src/worker/onnx/testing.ts";
import { Bare } from "./bare.ts";
import { OtherLoad } from "./other_load.ts";
import { serve } from "./serving_cost.ts";
import { median, printTable, quantile } from "./statistics.ts";

const ROUNDS = 8;
const LOADS_PER_ROUND = 2;
const QUANTILES = [0.5, 0.9, 0.99, 1] as const;

/**
 * Runs `small` in a closed loop, by turns alone and beside loads of `large`, and prints how long inferences
 * took. Those alone are in two rows, by turns, to show how much times differ by themselves.
 */
export async function loadBeside(
  backend: TestBackend,
  kind: DeviceKind,
  smallName: string,
  largeName: string,
): Promise<void> {
  const bare = await Bare.open(kind);
  const chunkMs = median([await bare.uploadMs(), await bare.uploadMs(), await bare.uploadMs()]);
  bare.close();
  const small = await backend.load(smallName, 1);
  const large = await backend.load(largeName, 1);
  await backend.loadWeights(small, 1);
  const blobs = [randomBlob(small, 1)];
  const inferMs = async () => (await serve(backend, small, 1, blobs)).actionMs;
  for (let i = 0; i < 20; i++) await inferMs();

  const alone: number[][] = [[], []];
  const beside: number[] = [];
  const loadsMs: number[] = [];
  const others = new OtherLoad();
  for (let round = 0; round < ROUNDS; round++) {
    let loading = true;
    const loads = (async () => {
      for (let i = 0; i < LOADS_PER_ROUND; i++) {
        const { beginNs, endNs } = await backend.loadWeights(large, 2);
        loadsMs.push((endNs - beginNs) / 1e6);
        await backend.evictWeights(large, 2);
      }
      loading = false;
    })();
    const before = beside.length;
    while (loading) beside.push(await inferMs());
    await loads;
    for (let i = before; i < beside.length; i++) alone[round % 2]!.push(await inferMs());
  }
  const otherCores = others.cores();
  await backend.evictWeights(small, 1);

  const row = (name: string, times: readonly number[]) => [
    name,
    `${times.length}`,
    ...QUANTILES.map((q) => quantile(times, q).toFixed(2)),
  ];
  const latest = QUANTILES.map((q) => Math.max(...alone.map((times) => quantile(times, q))));
  const delays = QUANTILES.map((q, i) => quantile(beside, q) - latest[i]!);
  console.log(
    `Inference while ${(large.weightsBytes / 1e6).toFixed(0)} MB of weights are loaded, over and ` +
      `over (${median(loadsMs).toFixed(0)} ms each), in ms:`,
  );
  printTable([
    ["", "runs", "median", "p90", "p99", "max"],
    row("alone", alone[0]!),
    row("alone again", alone[1]!),
    row("beside loads", beside),
  ]);
  const worst = Math.max(...delays);
  console.log(
    `  One upload chunk, ${UPLOAD_CHUNK_BYTES / 2 ** 20} MiB, takes ${chunkMs.toFixed(2)} ms. ` +
      `Beside loads inferences end ${delays.map((ms) => ms.toFixed(2)).join(", ")} ms later than ` +
      `alone: at most one chunk, ${worst <= chunkMs ? "yes" : "no"}` +
      (otherCores > 0.15 ? ` (other programs kept ${otherCores.toFixed(1)} cores busy)` : ""),
  );
}
