/** What must hold in a simulated cluster once faults have healed and it is idle. */
import { createHash } from "node:crypto";
import { SECOND } from "../core/clock.ts";
import { RequestStatus } from "../core/status.ts";
import { Infer4 } from "../scheduler/infer4/infer4.ts";
import { metDeadline, type RequestRecord } from "../telemetry/records.ts";
import type { Simulation } from "./simulation.ts";

/** Violations of what must hold at the end; empty when all is well. */
export function violations(simulation: Simulation): string[] {
  return [
    ...unsettled(simulation),
    ...misplaced(simulation),
    ...misaccounted(simulation),
    ...unevenlyLoaded(simulation),
    ...misstored(simulation),
    ...simulation.errors,
  ];
}

/** Every request has settled once, and none has been answered twice. */
function unsettled({ clients, runs, strayAnswers }: Simulation): string[] {
  const found: string[] = [];
  for (const { run } of runs) {
    const { requests } = run.statistics.summary(run.clock.now());
    if (requests !== run.asked) found.push(`${run.asked} requests have settled ${requests} times`);
  }
  let stray = strayAnswers;
  for (const { name, client } of clients) {
    if (client === null) continue;
    stray += client.strayAnswers;
    if (client.outstanding > 0) found.push(`${name}: ${client.outstanding} requests unanswered`);
  }
  if (stray > 0) found.push(`${stray} answers to requests that had been answered`);
  return found;
}

/** No request went to a model that is not there, whatever became of the controller that it was loaded at. */
function misplaced({ runs }: Simulation): string[] {
  return runs.flatMap(({ run }) => run.statistics.summary(run.clock.now()).failures)
    .filter(({ status }) => status === RequestStatus.invalidRequest)
    .map(({ count, example }) => `${count} requests lost their model: ${example}`);
}

/** The scheduler believes of each GPU what is true. */
function misaccounted({ workers, scheduler }: Simulation): string[] {
  if (!(scheduler instanceof Infer4)) return [];
  const found: string[] = [];
  for (const { name, server, id } of workers) {
    if (server === null) continue;
    for (const gpu of server.node.gpus) {
      const believed = scheduler.holdings({ workerId: id, gpuId: gpu.id });
      if (believed === null) {
        found.push(`${name} GPU ${gpu.id} is not used`);
        continue;
      }
      const free = gpu.cache.totalPages - gpu.cache.usedPages;
      if (free !== believed.freePages) {
        found.push(`${name} GPU ${gpu.id} has ${free} pages free, believed ${believed.freePages}`);
      }
      const models = gpu.loadedModelIds().join();
      if (models !== believed.models.join()) {
        found.push(`${name} GPU ${gpu.id} holds models ${models}, believed ${believed.models}`);
      }
    }
  }
  return found;
}

/** Every worker has all models, and no others: nothing is lost, and nothing piles up. */
function unevenlyLoaded({ workers, models }: Simulation): string[] {
  return workers.flatMap(({ name, server }) => {
    if (server === null || models === null || server.node.registry.size === models) return [];
    return [`${name} has ${server.node.registry.size} models of ${models}`];
  });
}

/** Workers keep whole uploads, no halves, and none that was removed, if the controller is to remember. */
function misstored({ workers, removed, remembers }: Simulation): string[] {
  const found: string[] = [];
  for (const { name, store } of workers) {
    if (store.partial > 0) found.push(`${name} has ${store.partial} uploads that are not complete`);
    for (const [path, { files, contents }] of store.kept) {
      if (remembers && removed.has(path)) found.push(`${name} has ${path}, which was removed`);
      const damaged = files.filter(({ name, sha256 }) =>
        createHash("sha256").update(contents.get(name)!).digest("hex") !== sha256
      );
      for (const file of damaged) found.push(`${name} has another ${file.name} of ${path}`);
    }
  }
  return found;
}

/** Counts goodput by the second, to see whether it comes back after faults. */
export class GoodputMeter {
  readonly #answered: number[] = [];
  readonly #good: number[] = [];

  readonly onRequest = (record: RequestRecord): void => {
    const second = Math.floor(record.departureNs / SECOND);
    this.#answered[second] = (this.#answered[second] ?? 0) + 1;
    if (metDeadline(record)) this.#good[second] = (this.#good[second] ?? 0) + 1;
  };

  /** The share of answers between two times, whole seconds, that were good; NaN without any. */
  share(fromNs: number, untilNs: number): number {
    let answered = 0;
    let good = 0;
    for (let s = Math.ceil(fromNs / SECOND); s < Math.floor(untilNs / SECOND); s++) {
      answered += this.#answered[s] ?? 0;
      good += this.#good[s] ?? 0;
    }
    return good / answered;
  }
}
