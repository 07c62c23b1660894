/** The benchmarks of `profile` without `check`: how fast this machine does what nodes do all the time. */
import { codecNs } from "../../bench/codec.ts";
import { benchmarkDevice } from "../../bench/device.ts";
import { SchedulerLoad } from "../../bench/scheduler_load.ts";
import { type Clock, MS, SECOND, US } from "../../core/clock.ts";
import { NoDeviceError } from "../../worker/onnx/onnx_backend.ts";
import { CheckError } from "../../worker/check_model.ts";

/** One figure. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly note: string;
}

const IMAGE_BYTES = 602_112;
const CODEC_MESSAGES = 20_000;
const CODEC_IMAGES = 500;
const SCHEDULED_REQUESTS = 20_000;

/** Takes some seconds. */
export async function benchmark(clock: Clock): Promise<Figure[]> {
  const small = codecNs(clock, CODEC_MESSAGES, 0);
  const large = codecNs(clock, CODEC_IMAGES, IMAGE_BYTES);
  return [
    figure("Codec, a request", small / US, "µs", "encoded and decoded, without input"),
    figure("Codec, 602 KB", large / US, "µs", "the same with an image, copied once"),
    scheduler(clock),
    ...await device(clock),
  ];
}

function figure(name: string, value: number, unit: string, note: string): Figure {
  return { name, value, unit, note };
}

function scheduler(clock: Clock): Figure {
  const load = new SchedulerLoad(12, 4000, 1);
  const beginNs = clock.now();
  for (let i = 0; i < SCHEDULED_REQUESTS; i++) load.step();
  const tookNs = (clock.now() - beginNs) / SCHEDULED_REQUESTS;
  load.check();
  return figure("Scheduler", tookNs / US, "µs", "a request, INFER4 with 12 GPUs and 4000 models");
}

async function device(clock: Clock): Promise<Figure[]> {
  const directory = Deno.makeTempDirSync({ prefix: "clockwork-profile-" });
  const remove = () => Deno.removeSync(directory, { recursive: true });
  // Of a person who does not wait for the end.
  globalThis.addEventListener("unload", remove);
  try {
    const { device, report, flop } = await benchmarkDevice(clock, directory);
    return report.model.batchSizes.map((size, i) => {
      const { medianNs } = report.exec[i]!;
      const gflops = size * flop / medianNs;
      return figure(
        `Device, batch of ${size}`,
        medianNs / MS,
        "ms",
        `four convolutions on ${device}: ${(size * SECOND / medianNs).toFixed(1)} requests/s, ` +
          `${gflops.toFixed(1)} GFLOP/s`,
      );
    });
  } catch (error) {
    // The checks have said so.
    if (error instanceof NoDeviceError || error instanceof CheckError) return [];
    throw error;
  } finally {
    globalThis.removeEventListener("unload", remove);
    remove();
  }
}
