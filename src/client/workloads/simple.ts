import { closedLoop } from "./closed_loop.ts";
import { model } from "./parameters.ts";
import { workload } from "./workload.ts";

export const simple = workload({
  name: "simple",
  summary: "two copies of one model, each with one request outstanding at a time",
  parameters: { model: model("the model to copy: a name or a path", "resnet50_v2") },
  example: "resnet50_v2",
  plan: ({ model }) => ({
    uses: [{ model, copies: 2 }],
    start: (run, [copies]) => {
      for (const copy of copies!) closedLoop(run, [copy], { concurrency: 1 });
    },
  }),
});
