/** Models and workers that come and go at random, by seed, under load: nothing is lost, nothing stays. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import type { Model } from "../client/model.ts";
import { Infer4 } from "../scheduler/infer4/infer4.ts";
import type { BreakableLink } from "../wire/memory_link.ts";
import type { PendingRequest } from "./serving.ts";
import { Cluster, type Outcome, outcome, type TestWorker } from "./test_rig.ts";

interface Node {
  readonly worker: TestWorker;
  link: BreakableLink | null;
  /** Its number at the controller. */
  id: number;
}

function churn(seed: number): void {
  const random = new Random(seed);
  let scheduler!: Infer4<PendingRequest>;
  const cluster = new Cluster({}, (clock, host) => scheduler = new Infer4(clock, host));
  let connections = 0;
  const nodes = Array.from({ length: 3 }, (): Node => {
    const worker = cluster.addWorker({ gpus: 1 + random.below(2), pages: 4 + random.below(8) });
    return { worker, link: worker.link, id: connections++ };
  });
  const { client } = cluster.addClient();
  const models = new Set<Model>(cluster.serve(client, "2/a", "3/b"));
  const outcomes: Outcome<unknown>[] = [];
  const pick = () => [...models][random.below(models.size)];
  const steps: (() => void)[] = [
    () => {
      const path = `${1 + random.below(4)}/m${random.below(1000)}`;
      client.loadModel(path, 1 + random.below(3), (result) => {
        if (result.ok) { for (const model of result.value) models.add(model); }
      });
    },
    () => {
      const model = pick();
      if (model === undefined) return;
      models.delete(model);
      outcomes.push(outcome<void>((done) => client.unloadModel(model, done)));
    },
    () => {
      const node = nodes[random.below(nodes.length)]!;
      if (node.link === null) {
        node.link = cluster.connectWorker(node.worker.server.accept);
        node.id = connections++;
      } else {
        node.link.cut();
        node.link = null;
      }
    },
  ];
  for (let i = 0; i < 200; i++) {
    const model = pick();
    const deadlineNs = (10 + random.below(100)) * MS;
    if (model !== undefined) outcomes.push(cluster.infer(client, model, { deadlineNs }));
    if (random.below(10) === 0) steps[random.below(steps.length)]!();
    cluster.run(random.below(5) * MS);
  }
  for (const node of nodes) {
    if (node.link !== null) continue;
    node.link = cluster.connectWorker(node.worker.server.accept);
    node.id = connections++;
  }
  cluster.run(30 * SECOND);

  assert.ok(outcomes.every(({ result }) => result !== null), "every request is answered");
  assert.equal(client.outstanding, 0);
  assert.equal(cluster.controller.pending, 0);
  const expected = [...models].map(({ id }) => id).sort((a, b) => a - b);
  for (const { worker: { server: { node } }, id: workerId } of nodes) {
    assert.deepEqual(node.registry.list().map(({ id }) => id), expected, "only what is loaded");
    for (const gpu of node.gpus) {
      const believed = scheduler.holdings({ workerId, gpuId: gpu.id })!;
      assert.equal(gpu.cache.freePages, believed.freePages);
      assert.deepEqual(gpu.loadedModelIds(), believed.models);
    }
  }
}

Deno.test("models and workers come and go under load, by 200 seeds", () => {
  for (let seed = 1; seed <= 200; seed++) {
    try {
      churn(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
});
