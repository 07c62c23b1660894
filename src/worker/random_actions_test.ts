import assert from "node:assert/strict";
import fc from "fast-check";
import { INPUT_BYTES, Rig, type TestController } from "./test_rig.ts";

const PAGES = 6;
const MODELS = 4;

/** One thing that happens, after a time: an action, or a controller that goes or comes. */
const step = fc.record({
  waitUs: fc.nat(8_000),
  what: fc.constantFrom(
    "load",
    "load",
    "load",
    "infer",
    "infer",
    "infer",
    "evict",
    "evict",
    "clear",
    "state",
    "model",
    "unload",
    "reconnect",
  ),
  model: fc.nat(MODELS),
  gpu: fc.nat(2),
  batch: fc.nat(5),
  inputs: fc.constantFrom(0, 1, INPUT_BYTES, INPUT_BYTES, INPUT_BYTES),
  earliestUs: fc.integer({ min: -5_000, max: 20_000 }),
  widthUs: fc.integer({ min: -1_000, max: 30_000 }),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Windows in the order of the actions, which is that of their ids. */
type Windows = ({ earliest_ns: number; latest_ns: number } | null)[];

function send(controller: TestController, nowNs: number, action: Step, windows: Windows): void {
  const earliest_ns = nowNs + action.earliestUs * 1000;
  const window = { earliest_ns, latest_ns: earliest_ns + action.widthUs * 1000 };
  windows.push(["clear", "state", "unload"].includes(action.what) ? null : window);
  const { model, gpu, batch } = action;
  switch (action.what) {
    case "load":
      controller.loadWeights(model, gpu, window);
      break;
    case "infer": {
      const input_sizes = new Array<number>(Math.max(1, batch)).fill(action.inputs);
      controller.infer(model, gpu, { batch_size: batch, input_sizes, ...window });
      break;
    }
    case "evict":
      controller.evict(model, gpu, window);
      break;
    case "model":
      controller.loadModel(model, `${1 + model}/m`, 1, window);
      break;
    case "unload":
      controller.send("UnloadModel", { model_id: model, no_of_copies: 1 + gpu });
      break;
    case "clear":
      controller.send("ClearCache", {});
      break;
    case "state":
      controller.send("GetWorkerState", {});
      break;
  }
}

function checkPages(rig: Rig): void {
  for (const gpu of rig.server.node.gpus) {
    let pages = 0;
    for (const { model } of gpu.residents()) {
      pages += model.pages;
      assert.equal(rig.server.node.registry.get(model.id), model, "weights of no model");
    }
    assert.equal(gpu.cache.usedPages, pages);
    assert.ok(pages <= PAGES);
  }
}

Deno.test("whatever is sent: one result an action, started in its window, one inference at a time, and never more pages than there are", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const rig = new Rig({ gpus: 2, pages: PAGES, config: { max_queued_actions: 5 } });
      let controller = rig.connect();
      const sent: { controller: TestController; windows: Windows; left: boolean }[] = [];
      let windows: Windows = [];
      const leave = (left: boolean) => {
        sent.push({ controller, windows, left });
        windows = [];
      };
      // Models 0 to 3, of 1 to 4 pages; model 4 comes only if a step loads it.
      for (let model = 0; model < MODELS; model++) controller.loadModel(model, `${1 + model}/m`);
      windows.push(...new Array<null>(MODELS).fill(null));
      for (const one of steps) {
        rig.run(one.waitUs * 1000);
        checkPages(rig);
        if (one.what === "reconnect") {
          leave(true);
          controller.link.close("reconnect");
          controller = rig.connect();
        } else {
          send(controller, rig.clock.now(), one, windows);
        }
      }
      leave(false);
      rig.run(10e9);
      checkPages(rig);
      assert.equal(rig.server.pending, 0);
      for (const { controller, windows, left } of sent) {
        const ids = controller.results.map(({ id }) => id);
        assert.equal(new Set(ids).size, ids.length, "an action had two results");
        if (!left) assert.equal(ids.length, windows.length, "an action had no result");
        checkWindows(controller, windows);
      }
      checkSpans(sent.map(({ controller }) => controller));
    }),
    { numRuns: 150, seed: 1 },
  );
});

/** What was done was started in its window. */
function checkWindows({ results }: TestController, windows: Windows): void {
  for (const { id, header } of results) {
    const window = windows[id];
    const beginNs = "begin_ns" in header
      ? header.begin_ns
      : "exec" in header
      ? header.exec.begin_ns
      : null;
    if (window === null || window === undefined || beginNs === null) continue;
    assert.ok(beginNs >= window.earliest_ns && beginNs <= window.latest_ns);
  }
}

/** No two inferences of a GPU overlap. */
function checkSpans(controllers: readonly TestController[]): void {
  const spans: [number, number][][] = [[], []];
  for (const { results } of controllers) {
    for (const result of results) {
      if (result.kind !== "InferResult") continue;
      const { gpu_id, exec } = result.header;
      spans[gpu_id]!.push([exec.begin_ns, exec.end_ns]);
    }
  }
  for (const ofGpu of spans) {
    ofGpu.sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < ofGpu.length; i++) assert.ok(ofGpu[i]![0] >= ofGpu[i - 1]![1]);
  }
}
