/** Controllers that are started again: what they have of the one before. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../../core/clock.ts";
import { Random } from "../../core/random.ts";
import type { Client } from "../../client/client.ts";
import type { Model } from "../../client/model.ts";
import { MemoryRegistryFile } from "./memory_registry.ts";
import { Cluster, outcome, refusal, status, type TestWorker } from "../test_rig.ts";

/** A cluster that has served 2/a, two copies of 3/b, and 1/c, which it has unloaded. */
function served(file: MemoryRegistryFile | null) {
  const cluster = new Cluster({}, undefined, file);
  const worker = cluster.addWorker();
  const { client } = cluster.addClient();
  const [a] = cluster.serve(client, "2/a");
  const [b] = cluster.load(client, "3/b", 2);
  const [c] = cluster.load(client, "1/c");
  cluster.run();
  assert.equal(unload(cluster, client, c!), 0);
  return { cluster, worker, a: a!, b: b! };
}

function unload(cluster: Cluster, client: Client, model: Model): number {
  const unloaded = outcome<void>((done) => client.unloadModel(model, done));
  cluster.run();
  return status(unloaded);
}

/** Starts another controller with these workers, and runs it for a while. */
function restart(cluster: Cluster, ...workers: TestWorker[]): void {
  cluster.replaceController();
  for (const { server } of workers) cluster.connectWorker(server.accept);
  cluster.controller.start();
  cluster.run(2 * SECOND);
}

function infer(cluster: Cluster, model: Model): number {
  const { client } = cluster.addClient();
  const asked = cluster.infer(client, model);
  cluster.run();
  return status(asked);
}

const ids = ({ server }: TestWorker) => server.node.registry.list().map(({ id }) => id);
const loads = ({ lines }: Cluster) => lines.filter((line) => /A\d+:LoadModelFromDisk/.test(line));

Deno.test("with a registry, models that workers still have are served again by themselves", () => {
  const { cluster, worker, a, b } = served(new MemoryRegistryFile());
  restart(cluster, worker);
  assert.ok(
    cluster.lines.includes(
      "(Startup-3) Restoring 3 models of an earlier controller from the registry",
    ),
  );
  assert.deepEqual(loads(cluster), []);
  assert.deepEqual([infer(cluster, a), infer(cluster, b)], [0, 0]);
  const { client } = cluster.addClient();
  assert.equal(cluster.load(client, "2/d")[0]!.id, 4, "no id is given out twice");
});

Deno.test("models that workers have lost are loaded under the ids that they had", () => {
  const { cluster, worker, a, b } = served(new MemoryRegistryFile());
  const fresh = new Cluster();
  const empty = fresh.addWorker();
  empty.link.cut();
  fresh.clock.run(cluster.clock.now());
  restart(cluster, worker);
  const other = cluster.addWorker();
  cluster.run();
  assert.deepEqual(ids(other), [0, 1, 2]);
  cluster.replaceController();
  const third = cluster.addWorker();
  cluster.controller.start();
  cluster.run(2 * SECOND);
  assert.equal(loads(cluster).length, 2);
  assert.deepEqual(ids(third), [0, 1, 2]);
  assert.deepEqual([infer(cluster, a), infer(cluster, b)], [0, 0]);
});

Deno.test("a restarted controller that has no worker serves as soon as one comes", () => {
  const { cluster, worker, a } = served(new MemoryRegistryFile());
  restart(cluster);
  const { client } = cluster.addClient();
  const refused = cluster.infer(client, a);
  cluster.run();
  assert.match(refusal(refused), /no worker is connected/);
  cluster.connectWorker(worker.server.accept);
  cluster.run();
  assert.equal(infer(cluster, a), 0);
});

Deno.test("without a registry, workers forget what an earlier controller has left", () => {
  const { cluster, worker } = served(null);
  restart(cluster, worker);
  assert.deepEqual(ids(worker), []);
  assert.ok(cluster.lines.includes("(Startup-3) Awaiting LoadModel requests from clients"));
  const { client } = cluster.addClient();
  assert.equal(cluster.load(client, "2/d")[0]!.id, 3, "ids stay as they were");
});

Deno.test("workers forget what the registry does not list", () => {
  const file = new MemoryRegistryFile();
  const { cluster, worker, a } = served(file);
  const old = file.contents;
  const { client } = cluster.addClient();
  cluster.load(client, "2/d");
  assert.deepEqual(ids(worker), [0, 1, 2, 4]);
  file.contents = old;
  restart(cluster, worker);
  assert.deepEqual(ids(worker), [0, 1, 2]);
  assert.equal(infer(cluster, a), 0);
});

Deno.test("where the registry is damaged, what the workers have is served", () => {
  const file = new MemoryRegistryFile();
  const { cluster, worker, a, b } = served(file);
  const damaged = file.contents!.slice(0, -10);
  file.contents = damaged;
  restart(cluster, worker);
  assert.equal(file.aside, damaged);
  assert.ok(cluster.lines.some((line) => line.includes("checksum is wrong")));
  assert.ok(
    cluster.lines.includes(
      "(Startup-3) Restoring 3 models of an earlier controller from the workers",
    ),
  );
  assert.deepEqual([infer(cluster, a), infer(cluster, b)], [0, 0]);
  restart(cluster, worker);
  assert.ok(cluster.lines.some((line) => line.endsWith("from the registry")), "it is whole again");
});

Deno.test("workers that disagree about an id: the first one's model stays, the other forgets its own", () => {
  const file = new MemoryRegistryFile();
  const cluster = new Cluster({}, undefined, file);
  const first = cluster.addWorker();
  cluster.serve(cluster.addClient().client, "2/a");
  cluster.replaceController();
  file.contents = null;
  const second = cluster.addWorker();
  cluster.serve(cluster.addClient().client, "2/x");
  file.contents = null;
  restart(cluster, first, second);
  const paths = [first, second].map(({ server }) =>
    server.node.registry.list().map(({ path }) => path)
  );
  assert.deepEqual(paths, [["2/a"], ["2/a"]]);
});

Deno.test("a load that is repeated after a restart is not done again, nor is an unload", () => {
  const file = new MemoryRegistryFile();
  const { cluster, worker } = served(file);
  const ask = () => {
    const raw = cluster.addRawClient();
    const load = { user_id: 0, model_path: "2/k", no_of_copies: 1, workers: [], key: "k" };
    raw.link.send("LoadModelRequest", 1, load);
    raw.link.send("UnloadModelRequest", 2, { user_id: 0, model_id: 0, no_of_copies: 1, key: "u" });
    cluster.run();
    return raw.received.map(({ kind, header }) => ({ kind, ...header }));
  };
  const before = ask();
  restart(cluster, worker);
  assert.deepEqual(ask(), before);
  assert.deepEqual(before.map(({ kind }) => kind), ["LoadModelResponse", "UnloadModelResponse"]);
  assert.deepEqual(ids(worker), [1, 2, 4]);
});

Deno.test("a load is answered when it is in the registry, and also when it cannot get there", () => {
  const file = new MemoryRegistryFile();
  const cluster = new Cluster({}, undefined, file);
  cluster.addWorker();
  const { client } = cluster.addClient();
  cluster.serve(client, "2/a");
  assert.ok(file.contents!.includes('"path":"2/a"'));
  file.problem = "disk full";
  cluster.load(client, "2/b");
  assert.ok(
    cluster.lines.includes("The registry in memory cannot be written: disk full"),
  );
});

/** Loads, unloads, and restarts of the controller and of workers, at random: nothing is lost, nothing stays. */
function randomly(seed: number): void {
  const random = new Random(seed);
  const cluster = new Cluster({}, undefined, new MemoryRegistryFile());
  const workers = [cluster.addWorker(), cluster.addWorker()];
  let { client } = cluster.addClient();
  const expected = new Map(cluster.serve(client, "1/a").map((model) => [model.id, model]));
  for (let step = 0; step < 30; step++) {
    switch (random.below(5)) {
      case 0:
      case 1:
        for (const model of cluster.load(client, `1/m${step}`, 1 + random.below(3))) {
          assert.ok(!expected.has(model.id), "an id is given out once");
          expected.set(model.id, model);
        }
        break;
      case 2: {
        const model = [...expected.values()][random.below(expected.size)];
        if (model === undefined) break;
        assert.equal(unload(cluster, client, model), 0);
        expected.delete(model.id);
        break;
      }
      case 3: {
        // Now and then a worker is started again too, and has nothing.
        const fresh = random.below(2) === 0 ? random.below(workers.length) : -1;
        cluster.replaceController();
        workers.forEach((worker, i) => {
          if (i === fresh) workers[i] = cluster.addWorker();
          else cluster.connectWorker(worker.server.accept);
        });
        cluster.controller.start();
        cluster.run(2 * SECOND);
        client = cluster.addClient().client;
        break;
      }
      case 4: {
        const model = [...expected.values()][random.below(expected.size)];
        if (model === undefined) break;
        // After a restart with nothing to serve, the first load is a load stage.
        cluster.run(2 * SECOND);
        const asked = cluster.infer(client, model, { deadlineNs: SECOND });
        cluster.run(2 * SECOND);
        assert.equal(status(asked), 0, `model ${model.id} is served`);
      }
    }
    cluster.run(10 * MS);
    const known = [...expected.keys()].sort((x, y) => x - y);
    for (const worker of workers) assert.deepEqual(ids(worker), known, `step ${step}`);
  }
}

Deno.test("nothing is lost over restarts, and nothing stays that was unloaded, by 100 seeds", () => {
  for (let seed = 1; seed <= 100; seed++) {
    try {
      randomly(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
});
