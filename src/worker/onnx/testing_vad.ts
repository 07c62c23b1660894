/** The Silero voice activity detectors of npm's `@ricky0123/vad-web`: real models with state and If. */
import { fileURLToPath } from "node:url";
import { writeModel } from "./testing.ts";

/** Samples of audio, and the state of recurrent layers. */
const SHAPES = {
  silero_vad_legacy: { input: [1, 1536], h: [2, 1, 64], c: [2, 1, 64] },
  silero_vad_v5: { input: [1, 512], state: [2, 1, 128] },
  silero_vad_v6: { input: [1, 512], state: [2, 1, 128] },
};

export type VadModel = keyof typeof SHAPES;
export const VAD_MODELS = Object.keys(SHAPES) as VadModel[];

/** Puts them into a model directory, with the sizes of their inputs. */
export async function writeVadModels(directory: string): Promise<void> {
  // Brings the package into npm's cache.
  await import("@ricky0123/vad-web/package.json", { with: { type: "json" } });
  for (const name of VAD_MODELS) {
    const url = import.meta.resolve(`@ricky0123/vad-web/dist/${name}.onnx`);
    const bytes = Deno.readFileSync(fileURLToPath(url));
    // Any other sampling rate than 8 and 16 kHz is an error.
    writeModel(directory, name, bytes, { shapes: SHAPES[name], fill: { sr: 16000 } });
  }
}
