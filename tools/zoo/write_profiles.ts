/**
 * Writes config/modelzoo: sizes and modelled times of well-known networks, for the emulated worker.
 *
 *     deno run --allow-write tools/zoo/write_profiles.ts
 */
import { networks } from "./networks.ts";
import { modelJson } from "./profile.ts";

/** Every file of `config/modelzoo` but resnet50_v2's, by its path there. */
export function profileFiles(): Map<string, string> {
  return new Map(
    networks.map((network) => [
      `${network.name}/model.json`,
      JSON.stringify(modelJson(network), null, 2) + "\n",
    ]),
  );
}

if (import.meta.main) {
  const directory = new URL("../../config/modelzoo/", import.meta.url);
  for (const [path, text] of profileFiles()) {
    const file = new URL(path, directory);
    Deno.mkdirSync(new URL(".", file), { recursive: true });
    Deno.writeTextFileSync(file, text);
  }
  console.log(`${profileFiles().size} networks written`);
}
